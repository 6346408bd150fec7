"""Publish events to an MQTT broker."""

from __future__ import annotations

import re
import threading
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from hmdrn.watching.events import Event, to_json_line
from hmdrn_runtime.credentials import mask_secrets
from hmdrn_runtime.errors import HmdrnError, MissingDependencyError
from hmdrn_runtime.messages import format_error

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_CONNECT_TIMEOUT = 5.0
"""Seconds for a broker to answer at first."""
_CLOSE_TIMEOUT = 0.4
"""Seconds that closing waits for events on their way."""
_MAX_DELAY = 30
"""Most seconds between two attempts to reconnect; the first is after one, then twice as long each."""
_MAX_QUEUED = 1000
"""Most events kept while the broker is away; further ones are lost, and counted."""
_AT_LEAST_ONCE = 1
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
        name = mask_secrets(address, is_address=True)
        url = _parse_address(address)
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
        except ImportError as error:
            raise MissingDependencyError("paho-mqtt", "publishing to MQTT", "mqtt") from error
        self.lost: int = 0
        self.topic: str = unquote(url.path.lstrip("/"))
        self._retained: dict[str, str | bytes] = {self.subtopic(AVAILABILITY): "online"}
        self._pending = 0
        self._changed = threading.Condition()
        self._answered = threading.Event()
        self._refusal = ""
        self._queue_full = MQTTErrorCode.MQTT_ERR_QUEUE_SIZE
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect_timeout = _CONNECT_TIMEOUT
        self._client.max_queued_messages_set(_MAX_QUEUED)
        self._client.reconnect_delay_set(1, _MAX_DELAY)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.will_set(self.subtopic(AVAILABILITY), "offline", _AT_LEAST_ONCE, retain=True)
        if url.username:
            self._client.username_pw_set(unquote(url.username), unquote(url.password or "") or None)
        if url.scheme == "mqtts":
            self._client.tls_set()
        try:
            self._client.connect(url.hostname or "", url.port or _PORTS[url.scheme])
        except (OSError, ValueError) as error:
            raise HmdrnError(f"cannot reach the broker {name} ({format_error(error)}): is it up?") from error
        self._client.loop_start()
        if not self._answered.wait(_CONNECT_TIMEOUT) or self._refusal:
            self._client.disconnect()
            cause = self._refusal or f"no answer within {_CONNECT_TIMEOUT:g} s"
            raise HmdrnError(
                f"the broker {name} does not accept the connection ({cause}): check user and password"
            )
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
        with self._changed:
            self._pending += 1
        info = self._client.publish(topic, payload, qos=_AT_LEAST_ONCE, retain=retain)
        if info.rc == self._queue_full:
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

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._refusal = str(reason) if reason.is_failure else ""
        if not reason.is_failure:
            for topic, payload in list(self._retained.items()):
                self._publish(topic, payload, retain=True)
        self._answered.set()


def _parse_address(address: str) -> SplitResult:
    try:
        url = urlsplit(address)
        valid = url.scheme in _PORTS and url.hostname and not url.query
        _ = url.port  # raises ValueError out of range
    except ValueError:
        url, valid = urlsplit(""), False
    topic = unquote(url.path.lstrip("/"))
    if not valid or not topic or "#" in address or re.search(r"[#+\0]", topic):
        raise HmdrnError(
            f"cannot publish to {mask_secrets(address, is_address=True)!r}: give mqtt://host/topic or "
            "mqtts://user:password@host:8883/topic, without wildcards; in a password write @ as %40, "
            "/ as %2F, # as %23, % as %25"
        )
    return url
