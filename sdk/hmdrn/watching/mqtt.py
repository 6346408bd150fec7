"""Events to an MQTT broker."""

from __future__ import annotations

import re
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from hmdrn.watching.events import Event, line
from hmdrn.watching.sources import without_password
from hmdrn_runtime.errors import HmdrnError, MissingDependencyError
from hmdrn_runtime.messages import one_line

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_CONNECTING = 5.0
"""Seconds for a broker to answer at first."""
_LEAVING = 0.4
"""Seconds that closing waits for events on their way."""
_LONGEST_DELAY = 30
"""Seconds between two attempts to connect again at most; the first is after one, then twice as long each."""
_WAITING = 1000
"""Events kept at most while the broker is away; further ones are lost, and counted."""
_AT_LEAST_ONCE = 1


class Publisher:
    """Publishes events, at least once each, and connects again when the broker has been away.

    Args:
        address: mqtt://[user:password@]host[:port]/topic, or mqtts:// for TLS.

    Raises:
        HmdrnError: The address is none, or the broker does not take us at first.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, address: str) -> None:
        self._name = without_password(address)
        scheme, host, port, user, password, self._topic = _parts(address)
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingDependencyError("paho-mqtt", "publishing to MQTT", "mqtt") from error
        self.lost = 0
        """Events that found no place while the broker was away, and at the end those it did not take."""
        self._waiting = 0
        self._taken = threading.Condition()
        self._answered = threading.Event()
        self._refusal = ""
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect_timeout = _CONNECTING
        self._client.max_queued_messages_set(_WAITING)
        self._client.reconnect_delay_set(1, _LONGEST_DELAY)
        self._client.on_connect = self._connected
        self._client.on_publish = self._published
        if user is not None:
            self._client.username_pw_set(user, password)
        if scheme == "mqtts":
            self._client.tls_set()
        try:
            self._client.connect(host, port)
        except (OSError, ValueError) as error:
            raise HmdrnError(
                f"cannot reach the broker {self._name} ({one_line(error)}): is it up?"
            ) from error
        self._client.loop_start()
        if not self._answered.wait(_CONNECTING) or self._refusal:
            self._client.disconnect()
            why = self._refusal or f"no answer within {_CONNECTING:g} s"
            raise HmdrnError(f"the broker {self._name} does not take us ({why}): check user and password")

    def __call__(self, event: Event) -> None:
        """Publish one event; returns at once."""
        with self._taken:
            self._waiting += 1
        info = self._client.publish(self._topic, line(event), qos=_AT_LEAST_ONCE)
        if info.rc == _queue_full():
            self.lost += 1
            self._published()

    def wait(self, seconds: float) -> bool:
        """Wait until the broker has taken all events, at most for some seconds; returns whether it has."""
        with self._taken:
            return self._taken.wait_for(lambda: not self._waiting, seconds)

    def close(self) -> None:
        """Wait for events on their way, not long, and leave."""
        self.wait(_LEAVING)
        with self._taken:
            self.lost, self._waiting = self.lost + self._waiting, 0
        there = self._client.is_connected()
        self._client.disconnect()
        if there:  # else the thread may be in the midst of connecting, and is not waited for
            self._client.loop_stop()

    def _published(self, *arguments: object) -> None:
        with self._taken:
            self._waiting -= 1
            self._taken.notify_all()

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._refusal = str(reason) if reason.is_failure else ""
        self._answered.set()


def _queue_full() -> int:
    from paho.mqtt.enums import MQTTErrorCode

    return int(MQTTErrorCode.MQTT_ERR_QUEUE_SIZE)


def _parts(address: str) -> tuple[str, str, int, str | None, str | None, str]:
    """Scheme, host, port, user, password and topic of an address."""
    try:
        found = urlsplit(address)
        port = found.port
    except ValueError:
        found, port = urlsplit(""), None
    topic = unquote(found.path.lstrip("/"))
    wild = "#" in address or found.query or re.search(r"[#+\0]", topic)
    if found.scheme not in _PORTS or not found.hostname or not topic or wild:
        raise HmdrnError(
            f"cannot publish to {without_password(address)!r}: give mqtt://host/topic or "
            "mqtts://user:password@host:8883/topic, without wildcards"
        )
    user = unquote(found.username) if found.username else None
    password = unquote(found.password) if found.password else None
    return found.scheme, found.hostname, port or _PORTS[found.scheme], user, password, topic
