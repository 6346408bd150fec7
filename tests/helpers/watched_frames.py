"""What a watch sees, for the diary: frames with sightings, a recorder, and a full disk."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace

import numpy as np
from fake_classifier import make_prediction
from visit_examples import MORNING

from hmdrn.visits.recorder import VisitRecorder
from hmdrn.watching.frames import Frame
from hmdrn.watching.results import Sighting, WatchResult
from hmdrn.watching.smoothing import SmoothedLabel

JAY, WREN = make_prediction("Jay", 0.9), make_prediction("Wren", 0.8, other="Jay")
STRANGER = make_prediction("Jay", 0.6, known=False)
UNDECIDED = SmoothedLabel()
RECOGNIZER = SimpleNamespace(
    bundle=SimpleNamespace(manifest=SimpleNamespace(network=SimpleNamespace(fingerprint="f00d"))),
    gallery=SimpleNamespace(generation=3),
)


def make_recorder(store, **options):
    return VisitRecorder(store, RECOGNIZER, "camera 0", **options)


def see(position, *sightings, gone=(), clock=None, pixels=None):
    """A frame at a time in seconds; sightings are (track, box, prediction, state)."""
    if pixels is None:
        pixels = np.random.default_rng(int(10 * position)).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    time = MORNING.timestamp() + (position if clock is None else clock)
    frame = Frame(round(10 * position), position, time, position, pixels)
    seen = []
    for track, box, prediction, *state in sightings:
        is_unknown = prediction is STRANGER
        label = SmoothedLabel("unknown") if is_unknown else SmoothedLabel("species", prediction.label)
        seen.append(Sighting(track, box, prediction, state[0] if state else label, UNDECIDED))
    return WatchResult(frame, tuple(seen), tuple(gone), 0.01)


def record(recorder, *results):
    return [visit for result in results for visit in recorder.add(result)] + recorder.close()


class FullDisk:
    """Stands before a connection; pictures, or everything, do not fit."""

    def __init__(self, connection, refuses):
        self._connection, self.refuses = connection, refuses

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, sql, *arguments):
        if self.refuses in sql:
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, *arguments)
