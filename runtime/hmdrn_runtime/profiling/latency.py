"""What many durations of one call come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hmdrn_runtime.profiling.timing import Seconds

UNSTABLE = 0.025
"""Relative spread above which the machine's clocks were not stable while it was measured."""
_PARTS = 10
_LEAST = 5


@dataclass(frozen=True)
class Latency:
    """Latency of one call.

    Attributes:
        runs: How often it was measured.
        p50: Milliseconds that half of the calls took at most.
        p90: That nine in ten took at most: what MLPerf's single-stream scenario reports.
        p99: That 99 in a hundred took at most.
        mean: Mean in milliseconds.
        spread: `relative_spread`; None where it cannot be told.
    """

    runs: int
    p50: float
    p90: float
    p99: float
    mean: float
    spread: float | None

    @classmethod
    def of(cls, seconds: Seconds) -> Latency:
        """The latency that durations show."""
        p50, p90, p99 = (1e3 * percentile(seconds, share) for share in (50, 90, 99))
        return cls(len(seconds), p50, p90, p99, 1e3 * float(seconds.mean()), relative_spread(seconds))

    @property
    def unstable(self) -> bool:
        """Whether the clocks seem to have changed while it was measured."""
        return self.spread is not None and self.spread > UNSTABLE

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


def percentile(seconds: Seconds, share: float) -> float:
    """The smallest duration that `share` percent (0-100) of all do not exceed: a duration that occurred."""
    ordered = np.sort(seconds)
    return float(ordered[max(math.ceil(len(ordered) * share / 100), 1) - 1])


def relative_spread(seconds: Seconds) -> float | None:
    """How far latency wandered: standard deviation over mean, of the medians of ten stretches of the run.

    A single late call moves no median of a stretch; a clock that changes, or a chip that heats up, does. Of
    fewer than 50 runs the stretches are fewer, of five runs each; None where there are not two of
    them, or where the clock is too coarse for durations so short.
    """
    parts = min(_PARTS, len(seconds) // _LEAST)
    if parts < 2:
        return None
    medians = np.array([np.median(part) for part in np.array_split(seconds, parts)])
    mean = medians.mean()
    return float(medians.std() / mean) if mean > 0 else None


def throughput(latencies: Sequence[float] | Seconds, photos: int = 1) -> float:
    """Photos a second when calls of so many photos follow each other without a pause.

    Args:
        latencies: Seconds of every call.
        photos: Photos in a call.
    """
    return photos * len(latencies) / float(np.sum(latencies))
