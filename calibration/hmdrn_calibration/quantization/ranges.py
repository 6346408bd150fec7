"""From a histogram to the range that an 8-bit grid should span, by four methods.

A wide range clips nothing and rounds coarsely, a narrow one clips outliers and rounds finely. Which trade is
best for a network is measured, not assumed (`search.choose_method`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.quantization.affine import Grid, grid
from hmdrn_calibration.quantization.histograms import BINS, Histogram

PERCENTILE = 99.99
_FRACTIONS = tuple(np.linspace(1.0, 0.2, 65).tolist())
"""Parts of the full range that are tried, widest first."""

Loss = Callable[[Histogram, Grid], float]


@dataclass(frozen=True)
class Range:
    """What a grid is to span."""

    low: float
    high: float

    def grid(self, symmetric: bool) -> Grid:
        """The grid over this range."""
        return grid(self.low, self.high, symmetric)


def minmax(histogram: Histogram, symmetric: bool) -> Range:
    """All values that were seen."""
    return Range(histogram.extent.low, histogram.extent.high)


def percentile(histogram: Histogram, symmetric: bool) -> Range:
    """All but the outermost values: of each side, half of the part that `PERCENTILE` leaves."""
    seen = np.cumsum(histogram.counts) / histogram.counts.sum()
    tail = (1 - PERCENTILE / 100) / 2
    edges = histogram.extent.low + np.arange(BINS + 1) * (histogram.extent.width / BINS)
    first = int(np.searchsorted(seen, tail, side="right"))
    last = int(np.searchsorted(seen, 1 - tail, side="left"))
    return Range(float(edges[first]), float(edges[min(last, BINS - 1) + 1]))


def entropy(histogram: Histogram, symmetric: bool) -> Range:
    """The range whose grid loses least of the distribution's information (Kullback-Leibler)."""
    return _narrowed(histogram, symmetric, _divergence)


def mse(histogram: Histogram, symmetric: bool) -> Range:
    """The range whose grid has the least mean squared error, rounding and clipping together."""
    return _narrowed(histogram, symmetric, _squared_error)


METHODS: dict[str, Callable[[Histogram, bool], Range]] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def _narrowed(histogram: Histogram, symmetric: bool, loss: Loss) -> Range:
    """The best of narrower ranges: both ends of a symmetric one at once, else one end after the other."""
    low, high = histogram.extent.low, histogram.extent.high
    if not histogram.extent.width:
        return Range(low, high)

    def best(candidates: list[Range]) -> Range:
        return min(candidates, key=lambda r: loss(histogram, r.grid(symmetric)))

    if symmetric:
        reach = max(-low, high)
        return best([Range(-f * reach, f * reach) for f in _FRACTIONS])
    found = Range(low, high)
    if high > 0:
        found = best([Range(low, f * high) for f in _FRACTIONS])
    return best([Range(f * low, found.high) for f in _FRACTIONS]) if low < 0 else found


def _squared_error(histogram: Histogram, candidate: Grid) -> float:
    centres = histogram.centres
    return float(np.dot(histogram.counts, np.square(candidate.rounded(centres) - centres)))


def _divergence(histogram: Histogram, candidate: Grid) -> float:
    """Kullback-Leibler divergence of the quantised distribution from the one that was seen.

    Every level's count is spread evenly over the filled bins that it stands for. What is clipped belongs to
    the outermost bins in the distribution that is to be matched, and is missing in the quantised one.
    """
    levels = candidate.quantise(histogram.centres).astype(np.int64) - candidate.limits[0]
    low, high = (
        (q - candidate.zero_point - 0.5 + i) * candidate.scale for i, q in enumerate(candidate.limits)
    )
    inside = np.flatnonzero((histogram.centres >= low) & (histogram.centres <= high))
    kept = histogram.counts[inside].astype(np.float64)
    if not kept.any():
        return np.inf
    seen = kept.copy()
    seen[0] += histogram.counts[: inside[0]].sum()
    seen[-1] += histogram.counts[inside[-1] + 1 :].sum()
    filled = (seen > 0).astype(np.float64)
    totals = np.bincount(levels[inside], weights=kept, minlength=256)
    bins = np.bincount(levels[inside], weights=filled, minlength=256)
    spread = filled * (totals / np.maximum(bins, 1))[levels[inside]]
    return _kullback_leibler(seen / seen.sum(), spread / spread.sum())


def _kullback_leibler(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    there = p > 0
    floor = 1e-12  # a level that only clipped values fall on: very unlikely, not impossible
    return float(np.sum(p[there] * np.log(p[there] / np.maximum(q[there], floor))))
