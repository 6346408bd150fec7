"""Operators in 8 bits: one pass over a quarter of the bytes gives every logit up to a proven bound.

A class's folded operator w and a photo's folded Gram matrix x become integers times a scale, w' and x'. By
Cauchy-Schwarz |w x - w' x'| <= |w - w'| |x| + |w'| |x - x'|; the norms are computed in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.gallery.photo_statistics import Float64

if TYPE_CHECKING:
    import onnxruntime

    Int8 = npt.NDArray[np.int8]

GROUP = 128
"""Classes whose codes lie side by side, number by number: wider or narrower rows are read more slowly."""
_PHOTO_LIMIT = 127
_OPERATOR_LIMIT = 63
"""Largest codes. Processors without VNNI add two products in 16 bits: 2 (127 + 128) 63 just fits."""
_OFFSET = 128
"""Added to a photo's codes: ONNX Runtime multiplies unsigned by signed bytes."""
_SECTION = 2**17
"""Numbers whose products fit a sum of 32 bits; wider operators are multiplied in sections."""
_ROUNDING = 2.0**-50
"""Eight half units of float64: rounding of the products, for each number."""
_MODEL = (
    b'\x08\x05:>\n\x18\n\x01a\n\x01b\x12\x01y"\rMatMulInteger\x12\x01sZ\t\n\x01a\x12\x04\n\x02\x08\x02'
    b"Z\t\n\x01b\x12\x04\n\x02\x08\x03b\t\n\x01y\x12\x04\n\x02\x08\x06B\x04\n\x00\x10\n"
)
"""ONNX graph of y = MatMulInteger(a, b) for uint8 a and int8 b of any shape; opset 10."""


@dataclass(frozen=True, eq=False)
class PhotoCodes:
    """A photo's folded Gram matrix in 8 bits.

    Attributes:
        values: uint8 (S, 1, K), codes plus 128, in S sections.
        scale: Value of one step.
        norm: |x|.
        error: |x - x'|.
    """

    values: npt.NDArray[np.uint8]
    scale: float
    norm: float
    error: float

    @classmethod
    def quantize(cls, folded: Float64) -> PhotoCodes:
        """Quantize a folded Gram matrix, float64 (P,)."""
        sections, length = section_shape(len(folded))
        scale = float(max(folded.max(), -folded.min())) / _PHOTO_LIMIT or 1.0
        rounded = folded / scale
        np.rint(rounded, out=rounded)
        values = np.full(sections * length, _OFFSET, np.uint8)
        np.add(rounded, _OFFSET, out=values[: len(folded)], casting="unsafe")
        rounded *= scale
        rounded -= folded
        return cls(values.reshape(sections, 1, length), scale, float(_norms(folded)), float(_norms(rounded)))


def section_shape(size: int) -> tuple[int, int]:
    """Return the number of sections and their length, for operators of `size` numbers."""
    sections = -(-size // _SECTION)
    return sections, -(-size // sections)


def empty_codes(rows: int, size: int) -> Int8:
    """Return zero codes for `rows` operators of `size` numbers, int8 (groups, S, K, GROUP)."""
    return np.zeros((-(-rows // GROUP), *section_shape(size), GROUP), np.int8)


def write_codes(codes: Int8, start: int, operators: Float64, size: float) -> Float64:
    """Quantize centered operators (N, P) into the columns from `start` on.

    Args:
        codes: Written to.
        start: Column of the first operator.
        operators: Folded operators less the center; overwritten.
        size: Upper bound of the norm of operator and center, for the rounding of float64 products.

    Returns:
        float64 (4, N): value of one step, sum of the codes, |w'|, and |w - w'|.
    """
    scale = np.maximum(operators.max(axis=1), -operators.min(axis=1)) / _OPERATOR_LIMIT
    scale[scale == 0] = 1
    rounded = operators / scale[:, None]
    np.rint(rounded, out=rounded)
    steps, row = rounded.astype(np.int8), 0
    while row < len(steps):
        group, column = divmod(start + row, GROUP)
        part = steps[row : row + GROUP - column]
        codes[group].reshape(-1, GROUP)[: part.shape[1], column : column + len(part)] = part.T
        row += len(part)
    total = rounded.sum(axis=1)
    rounded *= scale[:, None]
    operators -= rounded
    error = _norms(operators) + (operators.shape[1] + 1) * _ROUNDING * size
    return np.stack([scale, total, _norms(rounded), error])


def _norms(rows: Float64) -> Float64:
    # Not by NumPy's BLAS, which would start threads of its own for a single long row.
    return np.asarray(np.sqrt(np.einsum("...p,...p->...", rows, rows)))


def estimate_products(codes: Int8, terms: Float64, photo: PhotoCodes) -> tuple[Float64, Float64]:
    """Return the products w' x' of a photo with N operators, float64 (N,), and the bounds of their errors.

    Args:
        codes: Codes of at least N operators.
        terms: Of N operators, as by `write_codes`.
        photo: The photo.
    """
    scale, total, norm, error = terms
    groups = codes[: math.ceil(terms.shape[1] / GROUP)]
    (products,) = _session().run(None, {"a": photo.values, "b": groups})
    sums = products.sum(axis=(1, 2), dtype=np.float64).reshape(-1)[: terms.shape[1]]
    estimates = photo.scale * scale * (sums - _OFFSET * total)
    return estimates, error * photo.norm + norm * photo.error


@cache
def _session() -> onnxruntime.InferenceSession:
    # Imported when needed: a device with another backend lacks it.
    from hmdrn_runtime.backends.ort import ort

    options = ort.SessionOptions()
    # Without threads of its own: the network's still wait busily for their next photo.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(_MODEL, options, providers=["CPUExecutionProvider"])
