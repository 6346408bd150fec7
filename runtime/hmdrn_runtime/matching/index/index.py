"""Exact search for a photo's best operators.

The operators in 8 bits give every logit up to a proven bound. The classes of highest estimate, and all whose
upper bound reaches the k-th of these, are computed in full in float64: the answer is exact for any data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.device.forking import repair_after_fork
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64, level_slices
from hmdrn_runtime.matching.index.blocks import IN_MEMORY, Block, new_block, release_memory
from hmdrn_runtime.matching.index.codes import PhotoCodes, estimate_products
from hmdrn_runtime.matching.index.folding import Folding
from hmdrn_runtime.matching.index.products import batch_products, row_products

_CHUNK = 64
"""Classes computed in full at once."""
_FEW = 8
"""Classes are copied if fewer than one in so many are compared: copying is slower than passing over."""

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Comparison of one photo with all classes.

    Attributes:
        logits: float64 (C,). Exact if `exact`, else an estimate below the k-th best.
        exact: bool (C,), true for classes computed in full.
        best: The k best classes, best first; of equal ones the first.
        distances: Distances of the best, by level.
    """

    logits: Float64
    exact: npt.NDArray[np.bool_]
    best: Rows
    distances: dict[str, Float64]


class Index:
    """Append-only operators of classes. One thread may append while others search.

    Args:
        network: A ridge network.
        mapped_from: Number of blocks in memory; further blocks are in mapped files.
    """

    network: Network

    def __init__(self, network: Network, mapped_from: int = IN_MEMORY) -> None:
        self.network = network
        self.folding: Folding = Folding.from_network(network)
        self.center: Float64 = np.zeros(network.packed)
        """Mean of the first folded operators; the closer to the others, the tighter their bounds."""
        self._mapped_from = mapped_from
        self._blocks: tuple[Block, ...] = ()
        self._used = 0
        repair_after_fork(self)

    def after_fork(self) -> None:
        """Leave the free rows of a mapped block to the parent: both processes write to the same file."""
        if len(self._blocks) > self._mapped_from:
            self._used = self.capacity

    def __len__(self) -> int:
        return self._used

    @property
    def capacity(self) -> int:
        """Number of rows of all blocks."""
        return sum(len(block) for block in self._blocks)

    def add(self, operators: Float32) -> Rows:
        """Append classes (N, P); returns their slots."""
        slots = np.arange(self._used, self._used + len(operators))
        if len(operators) and not self._blocks:
            self.center = operators.mean(axis=0, dtype=np.float64) * self.folding.operator
        while len(operators):
            room = self.capacity - self._used
            if not room:
                mapped = len(self._blocks) >= self._mapped_from
                self._blocks = (*self._blocks, new_block(self.network.packed, mapped))
                continue
            part, operators = operators[:room], operators[room:]
            block = self._blocks[-1]
            block.fill(len(block) - room, part, self.folding.operator, self.center)
            self._used += len(part)
            release_memory(block)
        return slots

    def classes(self, slots: Rows) -> IndexView:
        """Return a view of these slots, in this order, as they are now."""
        return IndexView(self, self._blocks, self._used, slots)


@dataclass(frozen=True, eq=False)
class IndexView:
    """An immutable view of some classes of an index; classes added later are not seen.

    Attributes:
        index: The index.
        blocks: The blocks at that moment.
        used: Rows in use at that moment.
        slots: intp (C,), the classes' rows.
    """

    index: Index
    blocks: tuple[Block, ...]
    used: int
    slots: Rows

    def __len__(self) -> int:
        return len(self.slots)

    def search(self, gram: Float32, top: int) -> SearchResult:
        """Compare a photo with all classes.

        Args:
            gram: Packed query Gram matrix, float32 (P,).
            top: Classes to rank, at least 1.
        """
        top = min(top, len(self.slots))
        gram64 = gram.astype(np.float64)
        logits, bounds = self._estimates(gram64 * self.index.folding.gram)
        exact = np.zeros(len(logits), bool)
        distances = np.empty((len(self.index.network.levels), len(logits)))

        def compute(rows: Rows) -> None:
            distances[:, rows] = computed = self._distances(rows, gram64)
            # Not by a matrix product, which may round the same numbers differently in another place.
            logits[rows], exact[rows] = (self.index.folding.levels * computed.T).sum(axis=1), True

        first = _largest(logits, top)
        compute(first)
        compute(np.flatnonzero((logits + bounds >= logits[first].min()) & ~exact))
        rows = np.flatnonzero(exact)
        best = rows[np.argsort(-logits[rows], kind="stable")[:top]]
        np.minimum(logits, logits[best[-1]], out=logits, where=~exact)
        by_level = zip(level_slices(self.index.network), np.maximum(distances[:, best], 0), strict=True)
        return SearchResult(logits, exact, best, dict(by_level))

    def logits(self, grams: Float32) -> Float32:
        """Compute logits of photos (B, P) in full, float32 (B, C)."""
        plain = (grams * self.index.folding.plain).astype(np.float32)
        if len(self.slots) < self.used // _FEW:
            return np.asarray(batch_products(self.operators(), plain).T)
        parts = [batch_products(b.operators[:n], plain) for b, n in self._parts()]
        return np.asarray(np.concatenate(parts)[self.slots].T)

    def operators(self) -> Float32:
        """Copy the operators, float32 (C, P)."""
        rows = np.empty((len(self.slots), self.index.network.packed), np.float32)
        start = 0
        for block in self.blocks:
            inside = np.flatnonzero((self.slots >= start) & (self.slots < start + len(block)))
            rows[inside] = block.operators[self.slots[inside] - start]
            release_memory(block)
            start += len(block)
        return rows

    def _estimates(self, folded: Float64) -> tuple[Float64, Float64]:
        """Return estimated logits of all classes, float64 (C,), and bounds of their errors."""
        photo = PhotoCodes.quantize(folded)
        parts = [estimate_products(b.codes, b.terms[:, :used], photo) for b, used in self._parts()]
        estimates, bounds = (np.concatenate(values)[self.slots] for values in zip(*parts, strict=True))
        return estimates + row_products(self.index.center[None], folded), bounds

    def _distances(self, rows: Rows, gram: Float64) -> Float64:
        """Return distances of some classes in full, by level, float64 (L, N); unclipped."""
        levels, size = level_slices(self.index.network).values(), len(self.blocks[0])
        distances = np.empty((len(levels), len(rows)))
        for i in range(0, len(rows), _CHUNK):
            slots = self.slots[rows[i : i + _CHUNK]].tolist()
            operators = np.empty((len(slots), len(gram)))
            for row, slot in zip(operators, slots, strict=True):
                row[:] = self.blocks[slot // size].operators[slot % size]
            for values, part in zip(distances, levels, strict=True):
                values[i : i + _CHUNK] = row_products(operators[:, part], gram[part])
            for block in self.blocks:
                release_memory(block)
        return distances

    def _parts(self) -> Iterator[tuple[Block, int]]:
        """Yield each block with the number of its rows in use."""
        used = self.used
        for block in self.blocks:
            yield block, min(used, len(block))
            used -= min(used, len(block))


def _largest(values: Float64, k: int) -> Rows:
    """Return the positions of the k largest values, unordered."""
    return np.arange(len(values)) if k >= len(values) else np.argpartition(values, -k)[-k:]
