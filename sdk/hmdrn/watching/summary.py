"""Summary of watching: counts, latencies, species."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hmdrn.watching.results import WatchResult
from hmdrn_runtime.arguments import check_number

PERCENTILES = (50, 90, 99)
"""Reported percentiles of the latencies."""
_MIN_SECONDS, _STEP, _BINS = 1e-4, 1.01, 1700


class LatencyHistogram:
    """Percentiles of any number of durations, within 1 %, in constant memory: a logarithmic histogram.

    Examples:
        >>> latencies = hmdrn.LatencyHistogram()
        >>> latencies.add(0.010)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def __repr__(self) -> str:
        values = ((p, self.percentile(p)) for p in PERCENTILES)
        return ", ".join(f"p{p} {1000 * value:.1f} ms" for p, value in values if value is not None) or "none"

    def add(self, seconds: float) -> None:
        """Count one duration; clipped to 0.1 ms at least and half an hour at most."""
        check_number(seconds, "seconds", "give a duration", valid=math.isfinite)
        index = math.log(max(seconds, _MIN_SECONDS) / _MIN_SECONDS) / math.log(_STEP)
        self._counts[min(int(index), _BINS - 1)] += 1

    def percentile(self, percent: float) -> float | None:
        """Return the duration in seconds that `percent` (0-100) do not exceed; None without durations."""
        check_number(percent, "percent", "give a number from 0 to 100", valid=lambda p: 0 <= p <= 100)
        total = int(self._counts.sum())
        if not total:
            return None
        rank = max(1, math.ceil(total * percent / 100))
        index = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(_MIN_SECONDS * _STEP ** (index + 0.5))


@dataclass
class SpeciesCount:
    """Frames under a species' smoothed label, and times that it appeared.

    Examples:
        >>> hmdrn.SpeciesCount(frames=30, times=2).times
        2
    """

    frames: int = 0
    times: int = 0


@dataclass
class WatchSummary:
    """Counts of all frames so far; `read` is the sum of `classified`, `dropped`, `skipped` and `unreadable`.

    Attributes:
        read: Frames that the source gave.
        classified: Frames that were classified.
        dropped: Frames that newer ones replaced.
        skipped: Frames for which the detector sent nothing.
        unreadable: Frames that could not be used.
        bad_lines: Lines of boxes that could not be read.
        unused_lines: Lines of boxes that were too late, or that a newer line replaced.
        reconnects: Times that the source came back.
        seconds: Time that was watched.
        latencies: From capture to result.
        species: Counts by label, without unknown subjects.
        unknown: Counts of subjects that are not an enrolled species.

    Examples:
        >>> watching = hmdrn.watch("default", "film.mp4", gallery="site7.gallery", max_frames=5)
        >>> frames = sum(1 for result in watching)
        >>> watching.summary.classified
        5
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
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    species: dict[str, SpeciesCount] = field(default_factory=dict)
    unknown: SpeciesCount = field(default_factory=SpeciesCount)

    def add(self, result: WatchResult) -> None:
        """Count a frame, unless it was skipped."""
        if result.skipped:
            return
        self.classified += 1
        self.latencies.add(result.latency)
        for sighting in result.sightings:
            smoothed = sighting.smoothed
            if smoothed.label is not None:
                count = self.species.setdefault(smoothed.label, SpeciesCount())
            elif smoothed.state == "unknown":
                count = self.unknown
            else:
                continue
            count.frames += 1
            count.times += sighting.changed

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary; latencies are in milliseconds."""
        frames = ("read", "classified", "dropped", "skipped", "unreadable")
        return {
            **{name: getattr(self, name) for name in (*frames, "bad_lines", "unused_lines", "reconnects")},
            "seconds": round(self.seconds, 3),
            "latency_ms": {
                f"p{p}": None if (value := self.latencies.percentile(p)) is None else round(1000 * value, 2)
                for p in PERCENTILES
            },
            "species": [
                {"label": label, "frames": count.frames, "times": count.times}
                for label, count in sorted(self.species.items())
            ],
            "unknown": {"frames": self.unknown.frames, "times": self.unknown.times},
        }
