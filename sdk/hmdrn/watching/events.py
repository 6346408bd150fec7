"""Events for programs: dictionaries that become one line of JSON each; docs/json.md describes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, TypeAlias

from hmdrn.watching.results import Sighting, SourceEvent, WatchResult
from hmdrn.watching.smoothing import SmoothedLabel
from hmdrn.watching.status import Health, WatchStatus
from hmdrn.watching.summary import WatchSummary
from hmdrn_runtime.io.json_document import is_encodable

SCHEMA = "hmdrn.watch/1"
Event: TypeAlias = dict[str, Any]
Sink: TypeAlias = Callable[[Event], None]
"""Receives events as they come."""


def build_result_events(result: WatchResult, every: bool) -> Iterator[Event]:
    """Yield the events of a frame: each change of a label, each lost track, and with `every` the frame."""
    frame = result.frame
    place: Event = {"frame": frame.index, "position": round(frame.position, 3)}
    if frame.file is not None:
        place["file"] = frame.file
    if result.detector_frame_id is not None:
        place["boxes_frame"] = result.detector_frame_id
    place["latency_ms"] = round(1000 * result.latency, 2)
    if every and not result.skipped:
        sightings = [{**_sighting(s), "answer": s.prediction.to_dict()} for s in result.sightings]
        yield {**_event("frame", frame.time), **place, "sightings": sightings}
    for sighting in result.sightings:
        if sighting.changed:
            previous = _label(sighting.previous)
            yield {**_event("label", frame.time), **place, **_sighting(sighting), "before": previous}
    for track in result.gone:
        yield {**_event("gone", frame.time), **place, "track": track}


def build_source_event(event: SourceEvent) -> Event:
    """Return an event of the source."""
    return {**_event("source", event.time), "state": event.state, "message": event.message}


def build_status_event(status: WatchStatus, health: Health, time: float) -> Event:
    """Return an event of the state; `time` is in seconds since 1970 (UTC)."""
    values = {"state": health.state, "healthy": health.is_ok, **status.to_dict()}
    return {**_event("status", time), **values}


def build_summary_event(summary: WatchSummary, time: float) -> Event:
    """Return the last event, the summary; `time` is in seconds since 1970 (UTC)."""
    return {**_event("summary", time), **summary.to_dict()}


def to_json_line(event: Event) -> str:
    """Return an event as one line of JSON, without its newline; in ASCII if it has undecodable bytes."""
    line = json.dumps(event, ensure_ascii=False)
    return line if is_encodable(line) else json.dumps(event)


def _event(kind: str, time: float) -> Event:
    utc = datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="milliseconds")
    return {"schema": SCHEMA, "event": kind, "time": utc.replace("+00:00", "Z")}


def _sighting(sighting: Sighting) -> Event:
    box = None if sighting.box is None else list(sighting.box)
    return {"track": sighting.track, "box": box, **_label(sighting.smoothed)}


def _label(label: SmoothedLabel) -> Event:
    numbers = {"probability": label.probability, "score": label.score}
    rounded = {key: None if value is None else round(value, 4) for key, value in numbers.items()}
    return {"state": label.state, "label": label.label, **rounded}
