"""Products of rows with a vector, on one thread."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_SMALL = 10**6
"""Multiplications of a product that OpenBLAS takes for small."""
_WORTH = 16
"""Rows from which on parts are worth their own calls."""

Floats = TypeVar("Floats", bound=np.floating[Any])


def products(rows: npt.NDArray[Floats], vector: npt.NDArray[Floats]) -> npt.NDArray[Floats]:
    """`rows @ vector`, row by row, (N, K) by (K,) to (N,).

    As one product NumPy's BLAS would divide it among threads of its own. They start while those of the
    network still wait busily for their next photo, and both then take several times as long as either alone.
    """
    found: npt.NDArray[Floats] = np.matmul(rows[:, None, :], vector[:, None])[:, 0, 0]
    return found


def table(rows: npt.NDArray[Floats], vectors: npt.NDArray[Floats]) -> npt.NDArray[Floats]:
    """`rows @ vectors.T`, (N, K) by (B, K) to (N, B), for few vectors.

    A few rows at a time: NumPy's BLAS multiplies small matrices as they lie, and copies all of a large one
    into an order of its own first, which takes longer than a few products of it.
    """
    at_once = _SMALL // max(vectors.size, 1)
    if at_once < _WORTH or len(rows) <= at_once:
        return np.asarray(rows @ vectors.T)
    parts = [rows[i : i + at_once] @ vectors.T for i in range(0, len(rows), at_once)]
    return np.concatenate(parts)
