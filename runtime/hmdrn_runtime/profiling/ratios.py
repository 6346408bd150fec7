"""Ratio of two latencies, with a confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hmdrn_runtime.profiling.timing import Seconds

_RESAMPLES = 2000
_BATCH = 100
_TAIL = 0.025


@dataclass(frozen=True)
class Ratio:
    """Ratio of two medians.

    Attributes:
        value: The ratio; 2 means twice as long.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Format the ratio with its interval."""
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def ratio_of_medians(first: Seconds, second: Seconds, seed: int = 0) -> Ratio:
    """Compute the median of `first` over the median of `second`, with a 95 % bootstrap interval.

    The calls were timed in turns. Both durations of a turn are resampled together, because they share the
    machine's state, and so do neighboring turns, which are resampled in blocks (circular block bootstrap:
    Politis and Romano, 1992; block length is the cube root of the number of turns). Swapping the two gives
    the inverse of all three numbers.

    Args:
        first: Durations by turn, (n,).
        second: Durations of the same turns, (n,).
        seed: Seed of the resampling.
    """
    n = len(first)
    block = math.ceil(n ** (1 / 3))
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(_RESAMPLES // _BATCH):
        starts = rng.integers(0, n, (_BATCH, math.ceil(n / block), 1))
        turns = ((starts + np.arange(block)) % n).reshape(_BATCH, -1)[:, :n]
        batches.append(np.median(first[turns], axis=1) / np.median(second[turns], axis=1))
    ratios = np.sort(np.concatenate(batches))
    cut = int(_TAIL * _RESAMPLES)
    value = float(np.median(first) / np.median(second))
    return Ratio(value, float(ratios[cut]), float(ratios[-1 - cut]))
