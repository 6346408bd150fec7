"""Append-only blocks of many classes' rows; reading the first n rows needs no lock."""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.matching.index.codes import empty_codes, write_codes

if TYPE_CHECKING:
    from hmdrn_runtime.matching.index.codes import Int8

ROWS = 4096
"""Classes per block."""
IN_MEMORY = 3
"""Blocks with operators in memory (169 MB each at 10,336 numbers); further blocks have a mapped file."""
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class Block:
    """Arrays for the classes of one block.

    Attributes:
        operators: float32 (rows, P), as solved.
        codes: Centered operators in 8 bits, as by `empty_codes`.
        terms: float64 (4, rows), as by `write_codes`.
    """

    operators: Float32
    codes: Int8
    terms: Float64

    def __len__(self) -> int:
        return len(self.operators)

    def fill(self, start: int, operators: Float32, factors: Float32, center: Float64) -> None:
        """Write classes from row `start` on."""
        self.operators[start : start + len(operators)] = operators
        center_norm = float(np.linalg.norm(center))
        for i in range(0, len(operators), _CHUNK):
            centered = operators[i : i + _CHUNK].astype(np.float64)
            centered *= factors
            centered -= center
            size = float(np.linalg.norm(centered, axis=1).max()) + 2 * center_norm
            rows = slice(start + i, start + i + len(centered))
            self.terms[:, rows] = write_codes(self.codes, rows.start, centered, size)


def new_block(size: int, mapped: bool) -> Block:
    """Return an empty block; memory and file grow as it is filled."""
    operators: Float32
    if mapped:
        with tempfile.TemporaryFile(prefix="hmdrn-") as file:
            operators = np.memmap(file, np.float32, "w+", shape=(ROWS, size))
    else:
        operators = np.empty((ROWS, size), np.float32)
    return Block(operators, empty_codes(ROWS, size), np.zeros((4, ROWS)))


def release_memory(block: Block) -> None:
    """Release the memory of a mapped block's operators; they are read again when needed."""
    owner = block.operators.base
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
