"""What came of watching: counts, latencies, species."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hmdrn.watching.results import WatchResult

PERCENTILES = (50, 90, 99)
"""Those of the latencies that are told."""
_SHORTEST, _STEP, _BINS = 1e-4, 1.01, 1700


class Latencies:
    """Percentiles of any number of durations, within 1 %, in constant memory: a logarithmic histogram."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def __repr__(self) -> str:
        told = ((p, self.percentile(p)) for p in PERCENTILES)
        return ", ".join(f"p{p} {1000 * value:.1f} ms" for p, value in told if value is not None) or "none"

    def add(self, seconds: float) -> None:
        """Count one duration; those under 0.1 ms count as 0.1 ms, those over half an hour as that."""
        place = math.log(max(seconds, _SHORTEST) / _SHORTEST) / math.log(_STEP)
        self._counts[min(int(place), _BINS - 1)] += 1

    def percentile(self, percent: float) -> float | None:
        """The duration in seconds that this share of them, 0-100, does not exceed; None without any."""
        total = int(self._counts.sum())
        if not total:
            return None
        rank = max(1, math.ceil(total * percent / 100))
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(_SHORTEST * _STEP ** (place + 0.5))


@dataclass
class Seen:
    """How often a species was seen: `frames` under its smoothed label, and `times` that it appeared."""

    frames: int = 0
    times: int = 0


@dataclass
class Summary:
    """Of all frames so far. `read` is the sum of `classified`, `dropped`, `skipped` and `unreadable`.

    Attributes:
        read: Frames that the source gave.
        classified: Frames that were answered.
        dropped: Frames that newer ones had overtaken.
        skipped: Frames for which the detector sent no line.
        unreadable: Frames that could not be used.
        bad_lines: Lines of boxes that could not be read.
        unused_lines: Lines of boxes that no frame got: too late, or overtaken by a newer line.
        reconnects: Times that the source came back.
        seconds: How long it was watched.
        latencies: From capture to answer.
        species: By label; `unknown` counts apart.
        unknown: Subjects that were none of the enrolled species.
    """

    read: int = 0
    classified: int = 0
    dropped: int = 0
    skipped: int = 0
    unreadable: int = 0
    bad_lines: int = 0
    unused_lines: int = 0
    reconnects: int = 0
    seconds: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)
    species: dict[str, Seen] = field(default_factory=dict)
    unknown: Seen = field(default_factory=Seen)

    def add(self, result: WatchResult) -> None:
        """Count a frame that was answered, and nothing of one that was passed over."""
        if result.skipped:
            return
        self.classified += 1
        self.latencies.add(result.latency)
        for sighting in result.sightings:
            smoothed = sighting.smoothed
            if smoothed.label is not None:
                seen = self.species.setdefault(smoothed.label, Seen())
            elif smoothed.state == "unknown":
                seen = self.unknown
            else:
                continue
            seen.frames += 1
            seen.times += sighting.changed

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; latencies are in milliseconds."""
        frames = ("read", "classified", "dropped", "skipped", "unreadable")
        return {
            **{name: getattr(self, name) for name in (*frames, "bad_lines", "unused_lines", "reconnects")},
            "seconds": round(self.seconds, 3),
            "latency_ms": {
                f"p{p}": None if (value := self.latencies.percentile(p)) is None else round(1000 * value, 2)
                for p in PERCENTILES
            },
            "species": [
                {"label": label, "frames": seen.frames, "times": seen.times}
                for label, seen in sorted(self.species.items())
            ],
            "unknown": {"frames": self.unknown.frames, "times": self.unknown.times},
        }
