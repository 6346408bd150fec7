"""Exact search for a photo's best operators.

A photo is compared with all classes along a basis' axes. By Cauchy-Schwarz each logit is then known up to
|residual of the operator| |residual of the photo|. The classes of highest estimate, and all whose upper
bound reaches the k-th lower bound, are computed in full in float32; those that rounding could still put
among the first k, in float64. If the bounds exclude nothing, all classes are computed in full: the answer is
exact for any data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.device.forking import repair_after_fork
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64, level_slices
from hmdrn_runtime.matching.index.blocks import (
    IN_MEMORY,
    Block,
    new_block,
    projection_error,
    release_memory,
    residual_norm,
)
from hmdrn_runtime.matching.index.folding import Folding, rounding_error
from hmdrn_runtime.matching.index.products import batch_products, row_products
from hmdrn_runtime.matching.index.projection import Basis

MIN_REFINED = 512
_REFINED_SHARE = 32
"""Classes of highest estimate computed in full for every photo, with most of the softmax: this number, or
this share (one in 32) if that is more."""
_SPREAD = 1.6
"""Variance of the estimates' errors in units of bound^2 / (P - R), its value for independent directions of
both residuals; measured on photographs."""
READ_ROWS = 1024
"""Rows read from a mapped file before its memory is released: each row loads up to 64 KB of pages."""

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
        basis: Directions to compare along; None to compare in full.
        mapped_from: Number of blocks in memory; further blocks are in mapped files.
    """

    network: Network

    basis: Basis | None

    def __init__(self, network: Network, basis: Basis | None = None, mapped_from: int = IN_MEMORY) -> None:
        self.network, self.basis = network, basis
        self.folding: Folding = Folding.from_network(network)
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
        return self._append(
            operators,
            lambda block, row, part: block.fill(row, part, part * self.folding.operator, self.basis),
        )

    def restore(self, rows: Float32) -> Rows:
        """Append classes given by `IndexView.rows` of an index with this basis; returns their slots."""
        if self.basis is None:
            return self.add(rows)
        return self._append(rows, lambda block, row, part: block.restore(row, part))

    def _append(self, rows: Float32, write: Callable[[Block, int, Float32], None]) -> Rows:
        slots = np.arange(self._used, self._used + len(rows))
        while len(rows):
            room = self.capacity - self._used
            if not room:
                rank = 0 if self.basis is None else len(self.basis.axes)
                mapped = len(self._blocks) >= self._mapped_from
                self._blocks = (*self._blocks, new_block(self.network.packed, rank, mapped))
                continue
            part, rows = rows[:room], rows[room:]
            block = self._blocks[-1]
            write(block, len(block) - room, part)
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
        folded, plain64 = gram64 * self.index.folding.gram, gram64 * self.index.folding.plain
        plain = plain64.astype(np.float32)
        logits, bound = self._estimates(folded, plain)
        exact = np.full(len(logits), self.index.basis is None)
        if self.index.basis is not None:
            first = _largest(logits, max(MIN_REFINED, len(logits) // _REFINED_SHARE, 4 * top))
            self._refine(first, plain, folded, logits, bound, exact)
            rows = np.flatnonzero((logits + bound >= _kth(logits - bound, top)) & ~exact)
            self._refine(rows, plain, folded, logits, bound, exact)
        rows = np.flatnonzero(logits + bound >= _kth(logits - bound, top))
        operators = replace(self, slots=self.slots[rows]).operators().astype(np.float64)
        logits[rows] = refined = row_products(operators, plain64)
        order = np.argsort(-refined, kind="stable")[:top]
        best = rows[order]
        if self.index.basis is not None:
            # With an error of variance v, exp of a logit is on average exp(v / 2) times that of its estimate.
            directions = max(len(gram) - len(self.index.basis.axes), 1)
            raised = logits[~exact] + _SPREAD / 2 * bound[~exact] ** 2 / directions
            logits[~exact] = np.minimum(raised, logits[best[-1]])
        return SearchResult(logits, exact, best, self._distances(operators[order], gram64))

    def logits(self, grams: Float32) -> Float32:
        """Compute logits of photos (B, P) in full, float32 (B, C)."""
        plain = (grams * self.index.folding.plain).astype(np.float32)
        if len(self.slots) < self.used // _FEW:
            return np.asarray(batch_products(self.operators(), plain).T)
        parts = [batch_products(b.operators[:n], plain) for b, n in self._parts()]
        return np.asarray(np.concatenate(parts)[self.slots].T)

    def operators(self) -> Float32:
        """Copy the operators, float32 (C, P)."""
        return self._gather(self.index.network.packed, lambda block, rows: block.operators[rows])

    def rows(self) -> Float32:
        """Copy the operators and, with a basis, projections (R,) and `Block.terms` (3,); float32 (C, W)."""
        basis, packed = self.index.basis, self.index.network.packed
        if basis is None:
            return self.operators()
        rows = self._gather(packed + len(basis.axes) + 3, Block.rows)
        for block in self.blocks:
            release_memory(block)
        return rows

    def _gather(self, width: int, take: Callable[[Block, Rows], Float32]) -> Float32:
        rows = np.empty((len(self.slots), width), np.float32)
        start = 0
        for block in self.blocks:
            inside = np.flatnonzero((self.slots >= start) & (self.slots < start + len(block)))
            rows[inside] = take(block, self.slots[inside] - start)
            start += len(block)
        return rows

    @cached_property
    def _terms(self) -> Float64:
        """`Block.terms` of the classes, float64 (3, C)."""
        terms = np.concatenate([b.terms[:, :n] for b, n in self._parts()], axis=1)
        return terms[:, self.slots].astype(np.float64)

    def _estimates(self, folded: Float64, plain: Float32) -> tuple[Float64, Float64]:
        """Return estimated logits of all classes, float64 (C,), and bounds of their errors."""
        basis = self.index.basis
        terms = self._terms
        if basis is None:
            logits = np.concatenate([row_products(b.operators[:n], plain) for b, n in self._parts()])
            return logits[self.slots].astype(np.float64), self._rounding(terms[1], folded)
        centered = folded - basis.gram
        along = row_products(basis.axes, centered.astype(np.float32))
        logits = np.concatenate([row_products(b.projected[:n], along) for b, n in self._parts()])[self.slots]
        squared = centered @ centered
        bound = terms[2] * residual_norm(squared, along, basis) + projection_error(basis) * terms[
            1
        ] * np.sqrt(squared)
        return logits + terms[0] + basis.operator @ folded, bound

    def _refine(
        self,
        rows: Rows,
        plain: Float32,
        folded: Float64,
        logits: Float64,
        bound: Float64,
        exact: npt.NDArray[np.bool_],
    ) -> None:
        """Compute classes in full, in float32; updates their logits, bounds and `exact` in place."""
        if not len(rows):
            return
        # In the order of memory, block by block.
        rows = rows[np.argsort(self.slots[rows], kind="stable")]
        slots, start, norms = self.slots[rows], 0, np.empty(len(rows))
        for block in self.blocks:
            first, last = np.searchsorted(slots, (start, start + len(block)))
            for begin in range(first, last, READ_ROWS):
                part = slice(begin, min(begin + READ_ROWS, last))
                inside = slots[part] - start
                logits[rows[part]] = block.multiply(inside, plain)
                norms[part] = block.terms[1, inside]
                release_memory(block)
            start += len(block)
        bound[rows], exact[rows] = self._rounding(norms, folded), True

    def _rounding(self, norms: Float64, folded: Float64) -> Float64:
        """Return the error bound of float32 products, for operators of these (centered) norms."""
        mean = 0.0 if self.index.basis is None else float(np.linalg.norm(self.index.basis.operator))
        # Twice, because the folded query was rounded too.
        return 2 * rounding_error(self.index.network.packed) * (norms + mean) * float(np.linalg.norm(folded))

    def _parts(self) -> Iterator[tuple[Block, int]]:
        """Yield each block with the number of its rows in use."""
        used = self.used
        for block in self.blocks:
            yield block, min(used, len(block))
            used -= min(used, len(block))

    def _distances(self, operators: Float64, gram: Float64) -> dict[str, Float64]:
        return {
            name: np.maximum(row_products(operators[:, part], gram[part]), 0)
            for name, part in level_slices(self.index.network).items()
        }


def _kth(values: Float64, k: int) -> float:
    """Return the k-th largest value."""
    return float(np.partition(values, -k)[-k])


def _largest(values: Float64, k: int) -> Rows:
    """Return the positions of the k largest values, unordered."""
    return np.arange(len(values)) if k >= len(values) else np.argpartition(values, -k)[-k:]
