"""Products of rows with vectors, on one thread."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_SMALL = 10**6
"""Multiplications up to which OpenBLAS treats a product as small."""
_MIN_ROWS = 16
"""Rows from which on a part is worth its own call."""

Floats = TypeVar("Floats", bound=np.floating[Any])


def row_products(rows: npt.NDArray[Floats], vector: npt.NDArray[Floats]) -> npt.NDArray[Floats]:
    """Return `rows @ vector`, row by row, (N, K) by (K,) to (N,).

    For one product NumPy's BLAS would start its own threads, while the network's still wait busily for their
    next photo; both then take several times as long as either alone.
    """
    product: npt.NDArray[Floats] = np.matmul(rows[:, None, :], vector[:, None])[:, 0, 0]
    return product


def batch_products(rows: npt.NDArray[Floats], vectors: npt.NDArray[Floats]) -> npt.NDArray[Floats]:
    """Return `rows @ vectors.T`, (N, K) by (B, K) to (N, B), for few vectors.

    A few rows at a time: NumPy's BLAS multiplies small matrices in place, but first copies a large one into
    its own order, which takes longer than a few products.
    """
    step = _SMALL // max(vectors.size, 1)
    if step < _MIN_ROWS or len(rows) <= step:
        return np.asarray(rows @ vectors.T)
    return np.concatenate([rows[i : i + step] @ vectors.T for i in range(0, len(rows), step)])
