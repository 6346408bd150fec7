"""The index: operators in blocks, and the exact best of them for a photo.

A photo is compared with all classes along a basis' axes. By Cauchy-Schwarz each logit is then known up to
|rest of the operator| |rest of the photo|. The classes of highest estimate, and all whose upper bound
reaches the k-th lower bound, are computed in full in float32; those that rounding could still put among the
first k, in float64. Where the bounds exclude nothing, all classes are computed in full: the answer is exact
whatever the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.matching.index.blocks import IN_MEMORY, Block, new_block, release, rest, slack
from hmdrn_runtime.matching.index.folding import Folding, rounding
from hmdrn_runtime.matching.index.products import products, table
from hmdrn_runtime.matching.index.projection import Basis

REFINED = 512
_REFINED_SHARE = 32
"""Classes of highest estimate that are computed in full for every photo, where most of the softmax lies: so
many, or one in so many if that is more."""
_SPREAD = 1.6
"""Variance of the estimates' errors, as a multiple of bound^2 / (P - R), which it were if the directions of
both rests were independent; found on photographs."""
AT_ONCE = 1024
"""Rows read from a mapped file before its memory is given back: a row brings up to 64 KB of pages with it."""

_FEW = 8
"""One class in so many is compared by itself: to copy an operator takes longer than to pass over it."""

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Found:
    """How one photo compares with all classes.

    Attributes:
        logits: float64 (C,). In full where `exact`, else an estimate below the k-th best.
        exact: bool (C,), which were computed in full.
        best: The k best classes, best first; of equal ones the first.
        distances: Of the best, by level.
    """

    logits: Float64
    exact: npt.NDArray[np.bool_]
    best: Rows
    distances: dict[str, Float64]


class Index:
    """Operators of classes, appended and never changed. One thread may append while others search.

    Args:
        network: A ridge network.
        basis: Directions to compare along; None to compare in full.
        mapped_from: Blocks whose operators are in memory; those of further ones are in mapped files.
    """

    def __init__(self, network: Network, basis: Basis | None = None, mapped_from: int = IN_MEMORY) -> None:
        self.network, self.basis = network, basis
        self.folding = Folding.of(network)
        self._mapped_from = mapped_from
        self._blocks: tuple[Block, ...] = ()
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def capacity(self) -> int:
        """Rows of all blocks."""
        return sum(len(block) for block in self._blocks)

    def add(self, operators: Float32) -> Rows:
        """Append classes (N, P); returns their slots."""
        return self._append(
            operators,
            lambda block, row, part: block.fill(row, part, part * self.folding.operator, self.basis),
        )

    def restore(self, rows: Float32) -> Rows:
        """Append classes by what `Classes.rows` has told of them with this basis; returns their slots."""
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
            release(block)
        return slots

    def classes(self, slots: Rows) -> Classes:
        """The classes of these slots, in this order, as they are now."""
        return Classes(self, self._blocks, self._used, slots)

    def blocks(self) -> Iterator[tuple[Block, int]]:
        """Each block with the number of its rows in use."""
        left = self._used
        for block in self._blocks:
            yield block, min(left, len(block))
            left -= min(left, len(block))


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of one generation. Never changed: what is added to the index later is not seen.

    Attributes:
        index: Where they are.
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

    def search(self, gram: Float32, top: int) -> Found:
        """Compare a photo with all classes.

        Args:
            gram: Packed query Gram matrix, float32 (P,).
            top: Classes to rank, at least 1.
        """
        top = min(top, len(self.slots))
        wide = gram.astype(np.float64)
        folded, whole = wide * self.index.folding.gram, wide * self.index.folding.plain
        plain = whole.astype(np.float32)
        logits, bound = self._estimates(folded, plain)
        exact = np.full(len(logits), self.index.basis is None)
        if self.index.basis is not None:
            first = _largest(logits, max(REFINED, len(logits) // _REFINED_SHARE, 4 * top))
            self._refine(first, plain, folded, logits, bound, exact)
            rows = np.flatnonzero((logits + bound >= _kth(logits - bound, top)) & ~exact)
            self._refine(rows, plain, folded, logits, bound, exact)
        rows = np.flatnonzero(logits + bound >= _kth(logits - bound, top))
        operators = replace(self, slots=self.slots[rows]).operators().astype(np.float64)
        logits[rows] = refined = products(operators, whole)
        order = np.argsort(-refined, kind="stable")[:top]
        best = rows[order]
        if self.index.basis is not None:
            # With an error of variance v, exp of a logit is on average exp(v / 2) times that of its estimate.
            left = max(len(gram) - len(self.index.basis.axes), 1)
            raised = logits[~exact] + _SPREAD / 2 * bound[~exact] ** 2 / left
            logits[~exact] = np.minimum(raised, logits[best[-1]])
        return Found(logits, exact, best, self._distances(operators[order], wide))

    def logits(self, grams: Float32) -> Float32:
        """Logits of photos (B, P) in full, float32 (B, C)."""
        plain = (grams * self.index.folding.plain).astype(np.float32)
        if len(self.slots) < self.used // _FEW:
            found = table(self.operators(), plain)
        else:
            found = np.concatenate([table(b.operators[:n], plain) for b, n in self._parts()])[self.slots]
        return np.asarray(found.T)

    def operators(self) -> Float32:
        """A copy of the operators, float32 (C, P)."""
        return self._gathered(self.index.network.packed, lambda block, rows: block.operators[rows])

    def rows(self) -> Float32:
        """A copy of all that is known of the classes, float32 (C, W).

        Operators; with a basis followed by their projections (R,), and by `Block.terms` (3,).
        """
        basis, packed = self.index.basis, self.index.network.packed
        if basis is None:
            return self.operators()
        found = self._gathered(packed + len(basis.axes) + 3, Block.rows)
        for block in self.blocks:
            release(block)
        return found

    def _gathered(self, width: int, take: Callable[[Block, Rows], Float32]) -> Float32:
        found = np.empty((len(self.slots), width), np.float32)
        start = 0
        for block in self.blocks:
            inside = np.flatnonzero((self.slots >= start) & (self.slots < start + len(block)))
            found[inside] = take(block, self.slots[inside] - start)
            start += len(block)
        return found

    @cached_property
    def _terms(self) -> Float64:
        """`Block.terms` of the classes, float64 (3, C)."""
        found = np.concatenate([b.terms[:, :n] for b, n in self._parts()], axis=1)
        return found[:, self.slots].astype(np.float64)

    def _estimates(self, folded: Float64, plain: Float32) -> tuple[Float64, Float64]:
        """Logits of all classes, float64 (C,), and how far they may be off."""
        basis = self.index.basis
        terms = self._terms
        if basis is None:
            found = np.concatenate([products(b.operators[:n], plain) for b, n in self._parts()])
            return found[self.slots].astype(np.float64), self._rounding(terms[1], folded)
        centred = folded - basis.gram
        along = products(basis.axes, centred.astype(np.float32))
        found = np.concatenate([products(b.projected[:n], along) for b, n in self._parts()])[self.slots]
        squared = centred @ centred
        bound = terms[2] * rest(squared, along, basis) + slack(basis) * terms[1] * np.sqrt(squared)
        return found + terms[0] + basis.operator @ folded, bound

    def _refine(
        self,
        rows: Rows,
        plain: Float32,
        folded: Float64,
        logits: Float64,
        bound: Float64,
        exact: npt.NDArray[np.bool_],
    ) -> None:
        """Compute classes in full, in float32, and write what they are known by."""
        if not len(rows):
            return
        # In the order of memory, block by block.
        rows = rows[np.argsort(self.slots[rows], kind="stable")]
        slots, start, norms = self.slots[rows], 0, np.empty(len(rows))
        for block in self.blocks:
            first, last = np.searchsorted(slots, (start, start + len(block)))
            for begin in range(first, last, AT_ONCE):
                part = slice(begin, min(begin + AT_ONCE, last))
                inside = slots[part] - start
                logits[rows[part]] = block.gather(inside, plain)
                norms[part] = block.terms[1, inside]
                release(block)
            start += len(block)
        bound[rows], exact[rows] = self._rounding(norms, folded), True

    def _rounding(self, norms: Float64, folded: Float64) -> Float64:
        """How far products in float32 may be off, of operators of these (centred) norms."""
        mean = 0.0 if self.index.basis is None else float(np.linalg.norm(self.index.basis.operator))
        # Twice: the folded query was rounded, too.
        return 2 * rounding(self.index.network.packed) * (norms + mean) * float(np.linalg.norm(folded))

    def _parts(self) -> Iterator[tuple[Block, int]]:
        left = self.used
        for block in self.blocks:
            yield block, min(left, len(block))
            left -= min(left, len(block))

    def _distances(self, operators: Float64, gram: Float64) -> dict[str, Float64]:
        found, start = {}, 0
        for level in self.index.network.levels:
            part = slice(start, start + level.packed)
            found[level.name] = np.maximum(products(operators[:, part], gram[part]), 0)
            start += level.packed
        return found


def _kth(values: Float64, k: int) -> float:
    """The k-th largest."""
    return float(np.partition(values, -k)[-k])


def _largest(values: Float64, k: int) -> Rows:
    """Where the k largest are, in no order."""
    return np.arange(len(values)) if k >= len(values) else np.argpartition(values, -k)[-k:]
