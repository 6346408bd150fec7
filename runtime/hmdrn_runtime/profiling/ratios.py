"""How many times as long one call takes as another, with an interval."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from hmdrn_runtime.profiling.timing import Seconds

_RESAMPLES = 2000
_AT_ONCE = 100
_OUTSIDE = 0.025


@dataclass(frozen=True)
class Ratio:
    """Median of one over median of another.

    Attributes:
        value: The ratio; 2 means twice as long.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """The ratio with its interval."""
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    def to_dict(self) -> dict[str, float]:
        """A JSON-ready dictionary."""
        return asdict(self)


def ratio_of_medians(first: Seconds, second: Seconds, seed: int = 0) -> Ratio:
    """Median of `first` over median of `second`, with a 95 % bootstrap interval.

    The two were timed in turns. Turns are drawn together, for they share the state of the machine, and in
    blocks of neighbours, for so do they (circular block bootstrap: Politis and Romano, 1992; blocks of the
    cube root of the number of turns). Swapping the two gives the inverse of all three numbers.

    Args:
        first: Durations by turn, (n,).
        second: Of the same turns, (n,).
        seed: Which turns are drawn.
    """
    n = len(first)
    block = math.ceil(n ** (1 / 3))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(_RESAMPLES // _AT_ONCE):
        starts = rng.integers(0, n, (_AT_ONCE, math.ceil(n / block), 1))
        turns = ((starts + np.arange(block)) % n).reshape(_AT_ONCE, -1)[:, :n]
        found.append(np.median(first[turns], axis=1) / np.median(second[turns], axis=1))
    drawn = np.sort(np.concatenate(found))
    cut = int(_OUTSIDE * _RESAMPLES)
    value = float(np.median(first) / np.median(second))
    return Ratio(value, float(drawn[cut]), float(drawn[-1 - cut]))
