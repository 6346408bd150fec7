"""Statistics of the durations of a call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hmdrn_runtime.profiling.timing import Seconds

UNSTABLE = 0.025
"""Relative spread above which the machine's clocks were not stable during a measurement."""
_PARTS = 10
_MIN_PART = 5


@dataclass(frozen=True)
class Latency:
    """Latency of one call.

    Attributes:
        runs: Number of measurements.
        p50: 50th percentile in milliseconds.
        p90: 90th percentile, which MLPerf's single-stream scenario reports.
        p99: 99th percentile.
        mean: Mean in milliseconds.
        spread: `relative_spread`; None where it cannot be computed.
    """

    runs: int
    p50: float
    p90: float
    p99: float
    mean: float
    spread: float | None

    @classmethod
    def from_seconds(cls, seconds: Seconds) -> Latency:
        """Summarize durations."""
        p50, p90, p99 = (1e3 * percentile(seconds, share) for share in (50, 90, 99))
        return cls(len(seconds), p50, p90, p99, 1e3 * float(seconds.mean()), relative_spread(seconds))

    @property
    def unstable(self) -> bool:
        """True if the clocks seem to have changed during the measurement."""
        return self.spread is not None and self.spread > UNSTABLE


def percentile(seconds: Seconds, share: float) -> float:
    """Return the smallest of the durations that `share` percent (0-100) of them do not exceed."""
    ordered = np.sort(seconds)
    return float(ordered[max(math.ceil(len(ordered) * share / 100), 1) - 1])


def relative_spread(seconds: Seconds) -> float | None:
    """Return the drift of a latency: standard deviation over mean, of the medians of ten parts of the run.

    A single slow call moves none of the medians; a change of the clock, or a chip that heats up, does. Fewer
    than 50 runs are divided into fewer parts, of five runs each. The result is None for fewer than two parts,
    or where the clock is too coarse for such short durations.
    """
    parts = min(_PARTS, len(seconds) // _MIN_PART)
    if parts < 2:
        return None
    medians = np.array([np.median(part) for part in np.array_split(seconds, parts)])
    mean = medians.mean()
    return float(medians.std() / mean) if mean > 0 else None


def throughput(latencies: Sequence[float] | Seconds, photos: int = 1) -> float:
    """Return photos a second for calls without a pause, from the seconds of every call of `photos` photos."""
    return photos * len(latencies) / float(np.sum(latencies))
