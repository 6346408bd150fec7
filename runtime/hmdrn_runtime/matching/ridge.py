"""Ridge heads: a class is represented by one packed operator, and matched by an inner product with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.gallery.photo_statistics import (
    Float32,
    PhotoStatistics,
    gram_sum,
    level_slices,
    packed_gram,
)
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.base import IndexedOperands, Matcher, Operands, Scores
from hmdrn_runtime.matching.index.operator_cache import OperatorCacheWriter, SolvedOperators
from hmdrn_runtime.matching.index.species_index import SpeciesIndex

MAX_RESIDUAL = 0.02
"""Largest max |I - A X| of an accepted solve; without convergence it is near 1."""
SOLVE_BATCH = 64
"""Classes solved at once: bounds the memory of wide backbones' d x d matrices."""
MIN_INDEXED = 300
"""Species from which on a CPU matches them outside the graph, in 8 bits first; fewer are faster in it."""


class RidgeMatcher(Matcher):
    """Represents a class by one packed operator, whatever its number of photos."""

    def __init__(self, network: Network, backend: Backend, variant: str) -> None:
        super().__init__(network, backend, variant)
        self._solved: dict[bytes, Float32] = {}
        self._index: SpeciesIndex | None = None
        self.cache_writer: OperatorCacheWriter = OperatorCacheWriter()
        self.residual: float = 0.0
        """Largest max |I - A X| of the solves of the last `class_operands`; 0 without solves."""

    def _enroll_outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Float32]:
        outputs = self.backend.run("enroll", {"images": pixels})
        return {name: outputs[f"{name}_{self.network.statistics}"] for name in ("support", "query")}

    def class_operands(self, species: Sequence[Species]) -> dict[str, npt.NDArray[Any]]:
        """Return {"operator": float32 (C, P)}; only classes changed since the last call are solved."""
        keys = [s.key for s in species]
        solved = {key: self._solved[key] for key in keys if key in self._solved}
        if self.cache_writer.cached is not None:
            solved |= self.cache_writer.cached.read([key for key in keys if key not in solved])
        changed = {key: s for key, s in zip(keys, species, strict=True) if key not in solved}
        self.residual = 0.0
        solved.update(zip(changed, self._timed_operators(list(changed.values())), strict=True))
        self._solved = solved
        rows = [solved[key] for key in keys]
        # One copy, not one per class: NumPy yields to other threads at every copy, thousands of times.
        stacked = np.frombuffer(b"".join(row.data for row in rows), np.float32)
        return {"operator": stacked.reshape(len(rows), self.network.packed)}

    def compare(
        self,
        photos: Sequence[PhotoStatistics],
        pixels: Mapping[str, npt.NDArray[np.uint8]],
        species: Sequence[Species],
    ) -> Float32:
        """As `Matcher.compare`; needs only the photos' query statistics."""
        logits = np.zeros((len(photos), len(species)), np.float32)
        if not photos or not species:
            return logits
        unsolved = list(range(len(species)))
        if (species_index := self._index) is not None:
            index, slots = species_index.find(species)
            solved, unsolved = np.flatnonzero(slots >= 0), np.flatnonzero(slots < 0).tolist()
            if len(solved):
                logits[:, solved] = index.classes(slots[solved]).logits(self._query_grams(photos))
        if unsolved:
            cached = self._solved
            rows = {i: cached[species[i].key] for i in unsolved if species[i].key in cached}
            rest = [i for i in unsolved if i not in rows]
            rows |= dict(zip(rest, self.operators([species[i] for i in rest]), strict=True))
            logits[:, unsolved] = self.match(photos, np.stack([rows[i] for i in unsolved])).logits
        return logits

    def operands(self, species: Sequence[Species], background: Float32 | None = None) -> Operands:
        """As `Matcher.operands`; many species are matched outside the graph."""
        if len(species) < MIN_INDEXED or self.backend.name != "onnxruntime":
            self._index = None
            operands = super().operands(species, background)
        else:
            index = self._index or SpeciesIndex(self.network, self._timed_operators, self.cache_writer.cached)
            self.residual = 0.0
            operands = IndexedOperands(index.classes(species), background)
            self._index, self._solved = index, {}
        self.cache_writer.finish_first(self._solved_operators)
        return operands

    def attach_operator_cache(self, path: Path, bundle: Bundle) -> None:
        """As `Matcher.attach_operator_cache`."""
        origin = f"{self.network.fingerprint} {bundle.graph_digest('solve')} {self.backend.name}"
        if self._index is None and not self._solved:
            self.cache_writer.open(path, origin, self.network.packed)
        else:
            self.cache_writer.store(path, origin, self._solved_operators())

    def _solved_operators(self) -> SolvedOperators:
        # In this order: another thread may be switching from few species to many.
        solved, index = self._solved, self._index
        if index is not None:
            return index.solved_operators()
        rows = list(solved.values())
        return SolvedOperators(list(solved), lambda start, end: np.stack(rows[start:end]))

    def _timed_operators(self, species: Sequence[Species]) -> list[Float32]:
        with self.cache_writer.timed():
            return self.operators(species)

    def classify(self, pixels: npt.NDArray[np.uint8], operands: Operands, top: int = 5) -> Scores:
        """As `Matcher.classify`."""
        if not isinstance(operands, IndexedOperands):
            return super().classify(pixels, operands, top)
        grams = self.backend.run("encode", {"images": pixels})["query_gram"]
        shape = (len(grams), len(operands.classes))
        logits = np.empty(shape)
        distances = {level.name: np.full(shape, np.nan) for level in self.network.levels}
        for row, gram in enumerate(grams):
            result = operands.classes.search(gram, max(top, 2))
            logits[row] = result.logits
            for name, values in result.distances.items():
                distances[name][row, result.best] = values
        if operands.background is not None:
            background = self._scores(grams, operands.background).logits
            logits = np.concatenate([logits, background], axis=1)
        return Scores(distances, logits)

    def operators(self, species: Sequence[Species]) -> list[Float32]:
        """Solve any classes: packed operators (P,); those cached by `class_operands` stay as they are.

        Raises:
            EnrollmentError: A class that cannot be solved.
        """
        operators: list[Float32] = []
        for start in range(0, len(species), SOLVE_BATCH):
            part = species[start : start + SOLVE_BATCH]
            sums = np.stack([gram_sum(self.network, s.photos.values(), s.sums) for s in part])
            shots = np.array([s.shots for s in part], dtype=np.float32)
            operators += list(self.solve(sums, shots, [s.label for s in part]))
        return operators

    def solve(self, gram: npt.NDArray[np.floating[Any]], shots: Float32, labels: Sequence[str]) -> Float32:
        """Return the packed operators W^2 of classes, off-diagonals doubled, float32 (C, P).

        Args:
            gram: Summed packed Gram matrices (C, P).
            shots: Photos in each sum (C,).
            labels: Names of the classes, for messages.

        Raises:
            EnrollmentError: A sum that is empty or not finite, or a solve that did not converge.
        """
        with np.errstate(over="ignore"):  # reported below, with the label
            single = gram.astype(np.float32)
        for label, row, count in zip(labels, single, shots, strict=True):
            if not np.isfinite(row).all():
                raise EnrollmentError(f"{label!r} cannot be enrolled: its Gram matrix is not finite")
            if count < 1 or not row.any():
                raise EnrollmentError(
                    f"{label!r} cannot be enrolled: its Gram matrix is empty; give at least one photo"
                )
        outputs = self.backend.run("solve", {"gram": single, "shots": shots})
        self.residual = max(self.residual, float(outputs["residual"].max()))
        for label, residual in zip(labels, outputs["residual"], strict=True):
            # This form also refuses NaN.
            if not residual <= MAX_RESIDUAL:
                raise EnrollmentError(
                    f"{label!r} cannot be enrolled: its ridge solve did not converge (residual "
                    f"{residual:.3g}, at most {MAX_RESIDUAL}); use other photos, these are too similar"
                )
        operator: Float32 = outputs["operator"]
        if not np.isfinite(operator).all():
            raise EnrollmentError(f"the solve gave values that are not finite for one of {', '.join(labels)}")
        return operator

    def match(self, queries: Sequence[PhotoStatistics], operator: Float32) -> Scores:
        """Compare photos with known query statistics with operators (C, P), outside the graphs."""
        return self._scores(self._query_grams(queries), operator)

    def _query_grams(self, queries: Sequence[PhotoStatistics]) -> Float32:
        grams = [packed_gram(self.network, q.arrays["query"]) for q in queries]
        return np.stack(grams).astype(np.float32)

    def _scores(self, grams: Float32, operator: Float32) -> Scores:
        distances: dict[str, Float32] = {
            name: np.maximum(grams[:, part] @ operator[:, part].T, 0)
            for name, part in level_slices(self.network).items()
        }
        fusion = self.network.fusion
        total = sum((fusion.weights[name] * d for name, d in distances.items()), np.float32(0))
        return Scores(distances, np.asarray(-total * fusion.scale / fusion.divisor, dtype=np.float32))
