"""Four methods to choose the range of an 8-bit grid from a histogram.

A wide range clips nothing and rounds coarsely, a narrow one clips outliers and rounds finely. The method that
suits a network best is measured, not assumed (`layer_search.choose_methods`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.quantization.affine import Grid, fit_grid
from hmdrn_calibration.quantization.histograms import BINS, Histogram, Range

PERCENTILE = 99.99
_FRACTIONS = tuple(np.linspace(1.0, 0.2, 65).tolist())
"""Parts of the full range that are tried, widest first."""


def minmax(histogram: Histogram, symmetric: bool) -> Range:
    """Return the range of all values observed."""
    return histogram.range


def percentile(histogram: Histogram, symmetric: bool) -> Range:
    """Return the range without outliers: each end cuts off half of what `PERCENTILE` leaves."""
    cumulative = np.cumsum(histogram.counts) / histogram.counts.sum()
    tail = (1 - PERCENTILE / 100) / 2
    edges = histogram.range.low + np.arange(BINS + 1) * (histogram.range.width / BINS)
    first = int(np.searchsorted(cumulative, tail, side="right"))
    last = int(np.searchsorted(cumulative, 1 - tail, side="left"))
    return Range(float(edges[first]), float(edges[min(last, BINS - 1) + 1]))


def entropy(histogram: Histogram, symmetric: bool) -> Range:
    """Return the range whose grid loses the least information (Kullback-Leibler divergence)."""
    return _search_range(histogram, symmetric, _divergence)


def mse(histogram: Histogram, symmetric: bool) -> Range:
    """Return the range whose grid has the least mean squared error of rounding and clipping together."""
    return _search_range(histogram, symmetric, _squared_error)


METHODS: dict[str, Callable[[Histogram, bool], Range]] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def _search_range(histogram: Histogram, symmetric: bool, loss: Callable[[Histogram, Grid], float]) -> Range:
    """Return the best narrower range; both ends move together if symmetric, else one after the other."""
    low, high = histogram.range.low, histogram.range.high
    if not histogram.range.width:
        return histogram.range

    def select(candidates: list[Range]) -> Range:
        return min(candidates, key=lambda span: loss(histogram, fit_grid(span, symmetric)))

    if symmetric:
        reach = max(-low, high)
        return select([Range(-f * reach, f * reach) for f in _FRACTIONS])
    if high > 0:
        high = select([Range(low, f * high) for f in _FRACTIONS]).high
    return select([Range(f * low, high) for f in _FRACTIONS]) if low < 0 else Range(low, high)


def _squared_error(histogram: Histogram, grid: Grid) -> float:
    centers = histogram.centers
    return float(np.dot(histogram.counts, np.square(grid.fake_quantize(centers) - centers)))


def _divergence(histogram: Histogram, grid: Grid) -> float:
    """Return the divergence of the quantized distribution from the observed one.

    Every level's count is spread evenly over the filled bins that it stands for. Clipped values belong to the
    outermost bins of the observed distribution, and are missing in the quantized one.
    """
    levels = grid.quantize(histogram.centers).astype(np.int64) - grid.limits[0]
    low, high = ((q - grid.zero_point - 0.5 + i) * grid.scale for i, q in enumerate(grid.limits))
    inside = np.flatnonzero((histogram.centers >= low) & (histogram.centers <= high))
    counts = histogram.counts[inside].astype(np.float64)
    if not counts.any():
        return np.inf
    observed = counts.copy()
    observed[0] += histogram.counts[: inside[0]].sum()
    observed[-1] += histogram.counts[inside[-1] + 1 :].sum()
    filled = (observed > 0).astype(np.float64)
    totals = np.bincount(levels[inside], weights=counts, minlength=256)
    bins = np.bincount(levels[inside], weights=filled, minlength=256)
    spread = filled * (totals / np.maximum(bins, 1))[levels[inside]]
    return _kullback_leibler(observed / observed.sum(), spread / spread.sum())


def _kullback_leibler(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    support = p > 0
    floor = 1e-12  # a level that only clipped values fall on: very unlikely, not impossible
    return float(np.sum(p[support] * np.log(p[support] / np.maximum(q[support], floor))))
