"""Rows of many classes in blocks that are only ever appended to: who reads the first n rows needs no lock."""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.matching.index.folding import rounding
from hmdrn_runtime.matching.index.products import products
from hmdrn_runtime.matching.index.projection import Basis

ROWS = 4096
"""Classes of a block."""
IN_MEMORY = 3
"""Blocks whose operators are in memory (68 MB each, Conv-4); those of further blocks are in a mapped file."""
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class Block:
    """Room for the classes of one block.

    Attributes:
        operators: float32 (rows, P), as solved.
        projected: float32 (rows, R), the folded and centred operators along the basis' axes; R = 0 without.
        terms: float32 (3, rows): the centred operator's product with the mean Gram matrix, its norm, and an
            upper bound of the norm of what the axes leave of it. Without a basis 0, the norm and 0.
    """

    operators: Float32
    projected: Float32
    terms: Float32

    def __len__(self) -> int:
        return len(self.operators)

    def fill(self, start: int, operators: Float32, folded: Float32, basis: Basis | None) -> None:
        """Write classes from row `start` on."""
        rows = slice(start, start + len(operators))
        self.operators[rows] = operators
        if basis is None:
            self.terms[1, rows] = np.linalg.norm(folded, axis=1)
            return
        centred = folded - basis.operator
        single = centred.astype(np.float32)
        self.projected[rows] = projected = single @ basis.axes.T
        squared = np.einsum("np,np->n", centred, centred)
        self.terms[0, rows] = centred @ basis.gram
        self.terms[1, rows] = np.sqrt(squared)
        self.terms[2, rows] = rest(squared, projected, basis)

    def restore(self, start: int, rows: Float32) -> None:
        """Write classes from row `start` on, of which `rows` has told all."""
        end, size, rank = start + len(rows), self.operators.shape[1], self.projected.shape[1]
        self.operators[start:end] = rows[:, :size]
        self.projected[start:end] = rows[:, size : size + rank]
        self.terms[:, start:end] = rows[:, size + rank :].T

    def rows(self, chosen: npt.NDArray[np.intp]) -> Float32:
        """All that is known of some classes: operators, projections and terms, float32 (N, P + R + 3)."""
        known = [self.operators[chosen], self.projected[chosen], self.terms[:, chosen].T]
        return np.concatenate(known, axis=1)

    def gather(self, rows: npt.NDArray[np.intp], grams: Float32) -> Float32:
        """Products of some operators with a vector (P,), float32."""
        found = np.empty(len(rows), np.float32)
        # One small buffer that stays in the cache, where a copy of all rows would be fresh memory each time.
        buffer = np.empty((min(_CHUNK, len(rows)), self.operators.shape[1]), np.float32)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            chunk = np.take(self.operators, part, axis=0, out=buffer[: len(part)], mode="clip")
            found[start : start + len(part)] = products(chunk, grams)
        return found


def rest(squared: Float64, projected: Float32, basis: Basis) -> Float64:
    """Upper bound of the norm of what the axes leave of vectors, given squared norms and projections."""
    along = np.einsum("...r,...r->...", projected.astype(np.float64), projected.astype(np.float64))
    return np.asarray(np.sqrt(np.maximum(squared - along, 0) + slack(basis) * squared))


def slack(basis: Basis) -> float:
    """Relative error of projections and of products along the axes."""
    return basis.skew + 3 * rounding(basis.axes.shape[1])


def new_block(size: int, rank: int, mapped: bool) -> Block:
    """An empty block; memory and file grow as it is filled."""
    operators = _in_file((ROWS, size)) if mapped else np.empty((ROWS, size), np.float32)
    return Block(operators, np.empty((ROWS, rank), np.float32), np.zeros((3, ROWS), np.float32))


def release(block: Block) -> None:
    """Give back memory of a mapped block's operators that were read; they are read again when needed."""
    owner = block.operators.base
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _in_file(shape: tuple[int, int]) -> Float32:
    with tempfile.TemporaryFile(prefix="hmdrn-") as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
