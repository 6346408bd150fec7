"""Publish events to an MQTT broker."""

from __future__ import annotations

import threading
from urllib.parse import unquote

from hmdrn.watching.events import Event, to_json_line
from hmdrn.watching.mqtt_connection import AT_LEAST_ONCE, connect_client, make_client

_CLOSE_TIMEOUT = 0.4
"""Seconds that closing waits for events on their way."""
_MAX_QUEUED = 1000
"""Most events kept while the broker is away; further ones are lost, and counted."""
AVAILABILITY = "availability"
"""Topic below that of the events: "online" or "offline", retained; the broker itself says "offline" after a
crash or power cut (last will)."""


class MqttPublisher:
    """Publishes events, at least once each, and reconnects when the broker has been away.

    Retained messages are published again after a reconnection: a broker may have lost them.

    Args:
        address: mqtt://[user:password@]host[:port]/topic, or mqtts:// for TLS.

    Attributes:
        topic: The events' topic.
        lost: Events that did not fit into the queue while the broker was away, and after `close` also those
            that it did not accept.

    Raises:
        HmdrnError: The address is invalid, or the broker does not accept the connection at first.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, address: str) -> None:
        self._client, url = make_client(address, "publishing to MQTT")
        self.lost: int = 0
        self.topic: str = unquote(url.path.lstrip("/"))
        self._retained: dict[str, str | bytes] = {self.subtopic(AVAILABILITY): "online"}
        self._pending = 0
        self._changed = threading.Condition()
        self._client.max_queued_messages_set(_MAX_QUEUED)
        self._client.on_publish = self._on_publish
        self._client.will_set(self.subtopic(AVAILABILITY), "offline", AT_LEAST_ONCE, retain=True)
        connect_client(self._client, address, url, self._on_connected)
        self.wait(_CLOSE_TIMEOUT)  # for "online"

    def __call__(self, event: Event) -> None:
        """Publish one event; returns at once."""
        self._publish(self.topic, to_json_line(event))

    def subtopic(self, name: str) -> str:
        """Return a topic below that of the events."""
        return f"{self.topic}/{name}"

    def retain(self, topic: str, payload: str | bytes) -> None:
        """Publish a message that the broker keeps for those who subscribe later; returns at once."""
        self._retained[topic] = payload
        self._publish(topic, payload, retain=True)

    def _publish(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        from paho.mqtt.enums import MQTTErrorCode

        with self._changed:
            self._pending += 1
        info = self._client.publish(topic, payload, qos=AT_LEAST_ONCE, retain=retain)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            with self._changed:
                self.lost += 1
            self._on_publish()

    def wait(self, seconds: float) -> bool:
        """Wait some seconds until the broker has accepted all events, and return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, seconds)

    def close(self) -> None:
        """Say "offline", wait briefly for events on their way, and disconnect."""
        if self._client.is_connected():
            self._publish(self.subtopic(AVAILABILITY), "offline", retain=True)
        self.wait(_CLOSE_TIMEOUT)
        with self._changed:
            self.lost, self._pending = self.lost + self._pending, 0
        connected = self._client.is_connected()
        self._client.disconnect()
        if connected:  # else the thread may be blocked in connecting, and is not waited for
            self._client.loop_stop()

    def _on_publish(self, *arguments: object) -> None:
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()

    def _on_connected(self) -> None:
        for topic, payload in list(self._retained.items()):
            self._publish(topic, payload, retain=True)
