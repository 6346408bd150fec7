"""What is kept of an activation: how often it took which values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 2048
"""Eight for every step of an 8-bit grid over the same range."""


@dataclass(frozen=True)
class Extent:
    """Smallest and largest value that a tensor took."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """How far apart they are; 0 for a range that float32 cannot divide into bins."""
        width = self.high - self.low
        return width if width > BINS * float(np.finfo(np.float32).tiny) else 0.0

    def joined(self, other: Extent) -> Extent:
        """The smallest extent around both."""
        return Extent(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of a tensor's values in equal bins from `extent.low` to `extent.high`, int64 (BINS,).

    A tensor that took a single value, or values too close together to tell apart, has all of them in the
    first bin.
    """

    extent: Extent
    counts: npt.NDArray[np.int64]

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Middle of every bin, float64 (BINS,)."""
        return self.extent.low + (np.arange(BINS, dtype=np.float64) + 0.5) * (self.extent.width / BINS)

    def joined(self, other: Histogram) -> Histogram:
        """The sum of two histograms over one extent."""
        return Histogram(self.extent, self.counts + other.counts)


def extent_of(values: npt.NDArray[np.float32]) -> Extent:
    """Smallest and largest of some values, at least one."""
    return Extent(float(values.min()), float(values.max()))


def count(values: npt.NDArray[np.float32], extent: Extent) -> Histogram:
    """Histogram of some values; those outside the extent count in its outermost bins."""
    if not extent.width:
        counts = np.zeros(BINS, np.int64)
        counts[0] = values.size
        return Histogram(extent, counts)
    # Not numpy.histogram, which refuses ranges that are tiny beside the values themselves.
    positions = (values.ravel().astype(np.float64) - extent.low) * (BINS / extent.width)
    bins = np.clip(positions.astype(np.int64), 0, BINS - 1)
    return Histogram(extent, np.bincount(bins, minlength=BINS).astype(np.int64, copy=False))
