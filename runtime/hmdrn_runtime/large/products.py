"""Products of rows with a vector, on one thread."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Floats = TypeVar("Floats", bound=np.floating[Any])


def products(rows: npt.NDArray[Floats], vector: npt.NDArray[Floats]) -> npt.NDArray[Floats]:
    """`rows @ vector`, row by row, (N, K) by (K,) to (N,).

    As one product NumPy's BLAS would divide it among threads of its own. They start while those of the
    network still wait busily for their next photo, and both then take several times as long as either alone.
    """
    found: npt.NDArray[Floats] = np.matmul(rows[:, None, :], vector[:, None])[:, 0, 0]
    return found
