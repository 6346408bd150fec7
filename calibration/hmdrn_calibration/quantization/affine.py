"""8-bit grids and the arithmetic of QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Grid:
    """The values that an 8-bit tensor can have: (q - zero_point) * scale.

    Attributes:
        scale: Step of the grid, a float32 number above 0.
        zero_point: The q that stands for 0.
        symmetric: int8 with zero point 0, spanned by -127..127; else uint8.
    """

    scale: float
    zero_point: int
    symmetric: bool

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest q."""
        return (-128, 127) if self.symmetric else (0, 255)

    @property
    def dtype(self) -> type[np.int8] | type[np.uint8]:
        """Type of q."""
        return np.int8 if self.symmetric else np.uint8

    def quantise(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values to q, rounded half to even and clipped, as QuantizeLinear does."""
        q: npt.NDArray[Any] = np.rint(values / self.scale) + self.zero_point
        return q.clip(*self.limits).astype(self.dtype)

    def rounded(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """What remains of values after QuantizeLinear and DequantizeLinear."""
        return (self.quantise(values).astype(np.float64) - self.zero_point) * self.scale


def grid(low: float, high: float, symmetric: bool) -> Grid:
    """The grid that spans a range; 0 is always on it, so that padding and ReLU stay exact.

    Args:
        low: Lower end; what lies below is clipped.
        high: Upper end.
        symmetric: int8 around 0, as NVIDIA's compiler wants it; else uint8 with a zero point.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    span = max(-low, high) / 127 if symmetric else (high - low) / 255
    # A tensor that is always 0, or as good as, needs a scale that division survives.
    scale = float(np.float32(span)) if span >= _SMALLEST else 1.0
    return Grid(scale, 0 if symmetric else int(np.rint(-low / scale)), symmetric)


def quantise_weight(
    weight: npt.NDArray[np.float32], axis: int, least: npt.ArrayLike = 0.0
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Symmetric int8 with a scale for each output channel.

    Args:
        weight: Convolution kernel or matrix.
        axis: The axis of its output channels.
        least: Scales that must not be undercut, (channels,) or one for all.

    Returns:
        q in -127..127, of the weight's shape, and the scales (channels,).
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others)
    scales = np.where(largest / 127 >= _SMALLEST, largest / 127, 1)
    scales = np.maximum(scales, least).astype(np.float32)
    spread = np.expand_dims(scales, others)
    return np.clip(np.rint(weight / spread), -127, 127).astype(np.int8), scales
