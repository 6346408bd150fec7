"""8-bit affine quantization: grids, and the arithmetic of QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.quantization.histograms import Range

_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Grid:
    """Values of an 8-bit tensor: (q - zero_point) * scale.

    Attributes:
        scale: Step of the grid, a float32 number above 0.
        zero_point: The q that stands for 0.
        symmetric: int8 with zero point 0, spanned by -127..127; otherwise uint8.
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

    def quantize(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Convert values to q as QuantizeLinear does: rounded half to even, then clipped."""
        q: npt.NDArray[Any] = np.rint(values / self.scale) + self.zero_point
        return q.clip(*self.limits).astype(self.dtype)

    def fake_quantize(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Quantize values and dequantize them again."""
        return (self.quantize(values).astype(np.float64) - self.zero_point) * self.scale


def fit_grid(span: Range, symmetric: bool) -> Grid:
    """Return the grid over a range; 0 is always on it, so that padding and ReLU stay exact.

    Args:
        span: Values outside are clipped.
        symmetric: int8 around 0, as NVIDIA's compiler requires; otherwise uint8 with a zero point.
    """
    low, high = min(span.low, 0.0), max(span.high, 0.0)
    step = max(-low, high) / 127 if symmetric else (high - low) / 255
    # A tensor that is always (almost) 0 needs a scale that division survives.
    scale = float(np.float32(step)) if step >= _SMALLEST else 1.0
    return Grid(scale, 0 if symmetric else int(np.rint(-low / scale)), symmetric)


def quantize_weight(
    weight: npt.NDArray[np.float32], axis: int, min_scale: npt.ArrayLike = 0.0
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantize to symmetric int8 with a scale for each output channel.

    Args:
        weight: Convolution kernel or matrix.
        axis: Axis of its output channels.
        min_scale: Smallest scales allowed, (channels,) or one for all.

    Returns:
        q in -127..127, of the weight's shape, and the scales (channels,).
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    step = np.abs(weight).max(axis=others) / 127
    scales = np.maximum(np.where(step >= _SMALLEST, step, 1), min_scale).astype(np.float32)
    q = np.rint(weight / np.expand_dims(scales, others))
    return np.clip(q, -127, 127).astype(np.int8), scales
