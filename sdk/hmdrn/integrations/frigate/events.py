"""Frigate's events, from its MQTT topic."""

from __future__ import annotations

import json
import queue
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from hmdrn.watching.mqtt_connection import AT_LEAST_ONCE, connect_client, make_client

MAX_WAITING = 1000
"""Events that wait at most; the oldest is left out for a newer one."""


@dataclass(frozen=True)
class FrigateEvent:
    """A message about an event of Frigate, which is one tracked object.

    Attributes:
        kind: "new", "update" or "end".
        id: The event's id.
        camera: The camera.
        label: Class of the object, such as "bird".
        has_snapshot: Whether there is a picture.
        snapshot_time: Time of its best picture so far; None if unknown.
        start: Its start, in seconds since 1970 (UTC).
        end: Its end; None while it goes on.
        false_positive: Whether Frigate does not believe in it (yet).
    """

    kind: Literal["new", "update", "end"]
    id: str
    camera: str
    label: str
    has_snapshot: bool
    snapshot_time: float | None
    start: float
    end: float | None
    false_positive: bool


def parse_event(payload: bytes) -> FrigateEvent | None:
    """Read a message of the topic `frigate/events`; None if it is not one."""
    try:
        message = json.loads(payload)
        after, kind = message["after"], message["type"]
        snapshot = after.get("snapshot") or {}
        time = snapshot.get("frame_time", after.get("snapshot_time"))
        if kind not in ("new", "update", "end"):
            return None
        return FrigateEvent(
            kind,
            str(after["id"]),
            str(after["camera"]),
            str(after["label"]),
            bool(after.get("has_snapshot", False)),
            None if time is None else float(time),
            float(after["start_time"]),
            None if after.get("end_time") is None else float(after["end_time"]),
            bool(after.get("false_positive", False)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class FrigateEvents:
    """Receives events, and subscribes again when the broker has been away.

    Args:
        address: mqtt://[user:password@]host[:port]/PREFIX, with Frigate's own topic prefix.

    Raises:
        HmdrnError: The address is invalid, or the broker does not accept the connection.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, address: str) -> None:
        self._messages: queue.Queue[FrigateEvent] = queue.Queue(MAX_WAITING)
        self._client, url = make_client(address, "Frigate's events")
        topic = f"{unquote(url.path.strip('/'))}/events"
        self._client.on_message = self._receive

        def subscribe() -> None:
            self._client.subscribe(topic, qos=AT_LEAST_ONCE)

        connect_client(self._client, address, url, subscribe)

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there."""
        return bool(self._client.is_connected())

    def take(self, seconds: float) -> FrigateEvent | None:
        """Return the next event, or None if none comes within some seconds."""
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _receive(self, client: Any, userdata: Any, message: Any) -> None:
        event = parse_event(message.payload)
        if event is None:
            return
        while True:
            try:
                self._messages.put_nowait(event)
                return
            except queue.Full:
                try:
                    self._messages.get_nowait()
                except queue.Empty:
                    continue
