"""Ranges and histograms of activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 2048
"""Eight for every step of an 8-bit grid over the same range."""


@dataclass(frozen=True)
class Range:
    """An interval of values, such as the smallest and largest that a tensor took."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Distance between the ends; 0 for a range that float32 cannot divide into bins."""
        width = self.high - self.low
        return width if width > BINS * float(np.finfo(np.float32).tiny) else 0.0

    def merge(self, other: Range) -> Range:
        """Return the smallest range around both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of a tensor's values in equal bins over `range`, int64 (BINS,).

    A tensor of a single value, or of values too close together to distinguish, has all of them in the first
    bin.
    """

    range: Range
    counts: npt.NDArray[np.int64]

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """Middle of every bin, float64 (BINS,)."""
        return self.range.low + (np.arange(BINS, dtype=np.float64) + 0.5) * (self.range.width / BINS)

    def merge(self, other: Histogram) -> Histogram:
        """Return the sum of two histograms over one range."""
        return Histogram(self.range, self.counts + other.counts)


def measure_range(values: npt.NDArray[np.float32]) -> Range:
    """Return the smallest and largest of at least one value."""
    return Range(float(values.min()), float(values.max()))


def count_values(values: npt.NDArray[np.float32], span: Range) -> Histogram:
    """Return the histogram of some values; those outside the range count in its outermost bins."""
    if not span.width:
        counts = np.zeros(BINS, np.int64)
        counts[0] = values.size
        return Histogram(span, counts)
    # Not numpy.histogram, which refuses ranges that are tiny beside the values themselves.
    positions = (values.ravel().astype(np.float64) - span.low) * (BINS / span.width)
    bins = np.clip(positions.astype(np.int64), 0, BINS - 1)
    return Histogram(span, np.bincount(bins, minlength=BINS).astype(np.int64, copy=False))
