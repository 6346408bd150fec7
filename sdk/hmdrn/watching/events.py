"""Events for programs: dictionaries that become one line of JSON each; docs/json.md describes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, TypeAlias

from hmdrn.watching.results import Sighting, SourceEvent, WatchResult
from hmdrn.watching.smoothing import Smoothed
from hmdrn.watching.summary import Summary

SCHEMA = "hmdrn.watch/1"
Event: TypeAlias = dict[str, Any]
Sink: TypeAlias = Callable[[Event], None]
"""Takes events as they come."""


def result_events(result: WatchResult, every: bool) -> Iterator[Event]:
    """The events of a frame: a change of label each, what is gone, and with `every` the frame itself."""
    if every and not result.skipped:
        yield _frame_event(result)
    for sighting in result.sightings:
        if sighting.changed:
            yield {
                **_begin("label", result.frame.time),
                **_where(result),
                **_sighting(sighting),
                "before": _smoothed(sighting.before),
            }
    for track in result.gone:
        yield {**_begin("gone", result.frame.time), **_where(result), "track": track}


def source_event(event: SourceEvent) -> Event:
    """Something that happened to the source."""
    return {**_begin("source", event.time), "state": event.state, "message": event.message}


def summary_event(summary: Summary, time: float) -> Event:
    """The end: what came of it."""
    return {**_begin("summary", time), **summary.to_dict()}


def line(event: Event) -> str:
    """An event as one line of JSON, without its newline."""
    return json.dumps(event, ensure_ascii=False)


def _frame_event(result: WatchResult) -> Event:
    sightings = [
        {**_sighting(sighting), "answer": sighting.prediction.to_dict()} for sighting in result.sightings
    ]
    return {**_begin("frame", result.frame.time), **_where(result), "sightings": sightings}


def _begin(kind: str, time: float) -> Event:
    when = datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="milliseconds")
    return {"schema": SCHEMA, "event": kind, "time": when.replace("+00:00", "Z")}


def _where(result: WatchResult) -> Event:
    frame = result.frame
    where: Event = {"frame": frame.index, "position": round(frame.position, 3)}
    if frame.file is not None:
        where["file"] = frame.file
    if result.boxes_id is not None:
        where["boxes_frame"] = result.boxes_id
    return {**where, "latency_ms": round(1000 * result.latency, 2)}


def _sighting(sighting: Sighting) -> Event:
    box = None if sighting.box is None else list(sighting.box)
    return {"track": sighting.track, "box": box, **_smoothed(sighting.smoothed)}


def _smoothed(smoothed: Smoothed) -> Event:
    return {
        "state": smoothed.state,
        "label": smoothed.label,
        "probability": round(smoothed.probability, 4),
    }
