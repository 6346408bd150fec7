"""Visits in Home Assistant, by MQTT discovery: the last visit, its picture, and a sensor for each species."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Protocol

from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit, format_time
from hmdrn.watching.mqtt import AVAILABILITY
from hmdrn_runtime.errors import HmdrnError

DISCOVERY_PREFIX = "homeassistant"
"""Home Assistant's own default."""
LAST_VISIT, IMAGE, SPECIES = "last_visit", "image", "species"
"""Topics below that of the events."""


class RetainingPublisher(Protocol):
    """Publishes messages that a broker keeps: `MqttPublisher`, or an object with its methods."""

    def subtopic(self, name: str) -> str:
        """Return a topic below that of the events."""

    def retain(self, topic: str, payload: str | bytes) -> None:
        """Publish a message that the broker keeps."""


class HomeAssistantDevice:
    """Publishes visits as one device of Home Assistant.

    The sensors are announced when they are first needed: that of a species with its first visit. All messages
    are retained, so a restart of Home Assistant loses nothing.

    Args:
        publisher: The connection; its topic names the device.
        store: The visits; counts them and has their pictures.
        prefix: Topic that Home Assistant looks for devices at.
    """

    def __init__(
        self, publisher: RetainingPublisher, store: VisitStore, prefix: str = DISCOVERY_PREFIX
    ) -> None:
        if not re.fullmatch(r"[^#+\0]+", prefix):
            raise HmdrnError(
                f"{prefix!r} is not a topic: give one without wildcards, such as {DISCOVERY_PREFIX}"
            )
        self._publisher, self._store, self._prefix = publisher, store, prefix.strip("/")
        topic = publisher.subtopic("").rstrip("/")
        self._node = f"hmdrn_{make_identifier(topic)}"
        self._device = {"identifiers": [self._node], "name": f"hmdrn {topic}", "manufacturer": "hmdrn"}
        self._announced: set[str] = set()
        self._announce(
            "sensor",
            LAST_VISIT,
            {
                "name": "Last visit",
                "icon": "mdi:paw",
                "state_topic": publisher.subtopic(LAST_VISIT),
                "value_template": "{{ value_json.species }}",
                "json_attributes_topic": publisher.subtopic(LAST_VISIT),
            },
        )
        self._announce(
            "image",
            IMAGE,
            {
                "name": "Last visit",
                "image_topic": publisher.subtopic(IMAGE),
                "content_type": "image/jpeg",
            },
        )

    def publish(self, visit: Visit) -> None:
        """Publish a visit that has ended."""
        publisher = self._publisher
        publisher.retain(
            publisher.subtopic(LAST_VISIT), json.dumps(describe_visit(visit), ensure_ascii=False)
        )
        if visit.pictures:
            picture = next((p for p in visit.pictures if "typical" in p.reasons), visit.pictures[0])
            publisher.retain(publisher.subtopic(IMAGE), self._store.read_picture(picture.id))
        text = visit.naming.text
        identifier = make_identifier(text)
        topic = publisher.subtopic(f"{SPECIES}/{identifier}")
        self._announce(
            "sensor",
            f"{SPECIES}_{identifier}",
            {
                "name": text,
                "icon": "mdi:paw",
                "state_topic": topic,
                "value_template": "{{ value_json.visits }}",
                "json_attributes_topic": topic,
                "state_class": "total",
                "unit_of_measurement": "visits",
            },
        )
        where = VisitFilter(known=False) if visit.label is None else VisitFilter(species=[visit.label])
        values = {"species": text, "visits": self._store.count(where), "last": format_time(visit.start)}
        publisher.retain(topic, json.dumps(values, ensure_ascii=False))

    def _announce(self, component: str, name: str, values: dict[str, Any]) -> None:
        if name in self._announced:
            return
        self._announced.add(name)
        config = {
            **values,
            "unique_id": f"{self._node}_{name}",
            "availability_topic": self._publisher.subtopic(AVAILABILITY),
            "device": self._device,
        }
        topic = f"{self._prefix}/{component}/{self._node}/{name}/config"
        self._publisher.retain(topic, json.dumps(config, ensure_ascii=False))


def describe_visit(visit: Visit) -> dict[str, Any]:
    """Return a visit for a message: that of JSON output, with `species` in words."""
    return {"species": visit.naming.text, **visit.to_dict()}


def make_identifier(text: str) -> str:
    """Return a text as a part of a topic or identifier, in ASCII; different texts stay different."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if plain == text:
        return plain
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("_")
