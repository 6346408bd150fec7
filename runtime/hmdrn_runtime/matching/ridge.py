"""Ridge: a class is one packed operator, and matching an inner product with it."""

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
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics, gram_sum, packed_gram
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.base import Indexed, Matcher, Operands, Scores
from hmdrn_runtime.matching.index.cache_writer import Keeper
from hmdrn_runtime.matching.index.operator_cache import Solved
from hmdrn_runtime.matching.index.species_index import Enrolled, key_of

UNCONVERGED = 0.02
"""max |I - A X| above which a solve is refused; an unconverged one is near 1."""
SOLVE_BATCH = 64
"""Classes solved at once: bounds the memory of wide backbones' d x d matrices."""
OUTSIDE = 300
"""Species from which on they are matched outside the graph on a CPU: there every operator is read once, by
one fused product, where the graph reads them once a level."""


class RidgeMatcher(Matcher):
    """Ridge: a class is one packed operator, whatever its shots."""

    def __init__(self, network: Network, backend: Backend, variant: str) -> None:
        super().__init__(network, backend, variant)
        self._solved: dict[bytes, Float32] = {}
        self._enrolled: Enrolled | None = None
        self.keeper = Keeper()
        self.residual = 0.0
        """Largest max |I - A X| of the solves of the last `class_operands`; 0 if there were none."""

    def _enroll_outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Float32]:
        outputs = self.backend.run("enroll", {"images": pixels})
        return {name: outputs[f"{name}_{self.network.statistics}"] for name in ("support", "query")}

    def class_operands(self, species: Sequence[Species]) -> dict[str, npt.NDArray[Any]]:
        """{"operator": float32 (C, P)}; classes that are as at the last call are not solved again."""
        keys = [key_of(s) for s in species]
        solved = {key: self._solved[key] for key in keys if key in self._solved}
        if self.keeper.kept is not None:
            kept = self.keeper.kept.read([key for key in keys if key not in solved])
            solved |= {key: row[: self.network.packed] for key, row in kept.items()}
        changed = {key: s for key, s in zip(keys, species, strict=True) if key not in solved}
        self.residual = 0.0
        solved.update(zip(changed, self._solve_anew(list(changed.values())), strict=True))
        self._solved = solved
        rows = [solved[key] for key in keys]
        # One copy, not one a class: NumPy lets other threads go first at every copy, thousands of times.
        stacked = np.frombuffer(b"".join(row.data for row in rows), np.float32)
        return {"operator": stacked.reshape(len(rows), self.network.packed)}

    def compare(
        self,
        photos: Sequence[PhotoStatistics],
        pixels: Mapping[str, npt.NDArray[np.uint8]],
        species: Sequence[Species],
    ) -> Float32:
        """As `Matcher.compare`; a photo's query statistics are all that it takes."""
        if not photos or not species:
            return np.zeros((len(photos), len(species)), np.float32)
        logits = np.empty((len(photos), len(species)), np.float32)
        rest = list(range(len(species)))
        if (enrolled := self._enrolled) is not None:
            index, slots = enrolled.known(species)
            solved, rest = np.flatnonzero(slots >= 0), np.flatnonzero(slots < 0).tolist()
            if len(solved):
                logits[:, solved] = index.classes(slots[solved]).logits(self._query_grams(photos))
        if rest:
            logits[:, rest] = self.match(photos, np.stack(self.operators([species[i] for i in rest]))).logits
        return logits

    def operands(self, species: Sequence[Species], background: Float32 | None = None) -> Operands:
        """As `Matcher.operands`; many species are matched outside the graph."""
        if len(species) < OUTSIDE or self.backend.name != "onnxruntime":
            self._enrolled = None
            operands = super().operands(species, background)
        else:
            enrolled = self._enrolled or Enrolled(self.network, self._solve_anew, self.keeper.kept)
            self.residual = 0.0
            operands = Indexed(enrolled.classes(species), background)
            self._enrolled, self._solved = enrolled, {}
        self.keeper.made(self._all_solved)
        return operands

    def keep_operators(self, path: Path, bundle: Bundle) -> None:
        """As `Matcher.keep_operators`."""
        origin = f"{self.network.fingerprint} {bundle.digest_of('solve')} {self.backend.name}"
        if self._enrolled is None and not self._solved:
            self.keeper.begin(path, origin, self.network.packed)
        else:
            self.keeper.store(path, origin, self._all_solved())

    def _all_solved(self) -> Solved:
        # In this order: another thread may just be going from few species to many.
        few, enrolled = self._solved, self._enrolled
        if enrolled is not None:
            return enrolled.solved()
        rows = list(few.values())
        return Solved(list(few), lambda start, end: np.stack(rows[start:end]))

    def _solve_anew(self, species: Sequence[Species]) -> list[Float32]:
        with self.keeper.solving():
            return self.operators(species)

    def classify(self, pixels: npt.NDArray[np.uint8], operands: Operands, top: int = 5) -> Scores:
        """As `Matcher.classify`."""
        if not isinstance(operands, Indexed):
            return super().classify(pixels, operands, top)
        grams = self.backend.run("encode", {"images": pixels})["query_gram"]
        classes = operands.classes
        logits = np.empty((len(grams), len(classes)))
        shape = (len(grams), len(classes))
        distances = {level.name: np.full(shape, np.nan) for level in self.network.levels}
        for row, gram in enumerate(grams):
            found = classes.search(gram, max(top, 2))
            logits[row] = found.logits
            for name, values in found.distances.items():
                distances[name][row, found.best] = values
        if operands.background is not None:
            further = self._scores(grams, operands.background).logits
            logits = np.concatenate([logits, further], axis=1)
        return Scores(distances, logits)

    def operators(self, species: Sequence[Species]) -> list[Float32]:
        """Packed operators (P,) of any classes, solved anew; those that `class_operands` remembers stay.

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
        """Operators of classes.

        Args:
            gram: Summed packed Gram matrices (C, P).
            shots: Photos in each sum (C,).
            labels: Names of the classes, for messages.

        Returns:
            Packed operators W^2, off-diagonals doubled, float32 (C, P).

        Raises:
            EnrollmentError: A sum that is empty or not finite, or a solve that did not converge.
        """
        with np.errstate(over="ignore"):  # told below, by the name of the species
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
            # Written so that a residual that is no number is refused too.
            if not residual <= UNCONVERGED:
                raise EnrollmentError(
                    f"{label!r} cannot be enrolled: its ridge solve did not converge (residual "
                    f"{residual:.3g}, at most {UNCONVERGED}); use other photos, these are too much alike"
                )
        operator: Float32 = outputs["operator"]
        if not np.isfinite(operator).all():
            raise EnrollmentError(f"the solve gave values that are not finite for one of {', '.join(labels)}")
        return operator

    def match(self, queries: Sequence[PhotoStatistics], operator: Float32) -> Scores:
        """Compare photos whose query statistics are known with operators (C, P), outside the graphs."""
        return self._scores(self._query_grams(queries), operator)

    def _query_grams(self, queries: Sequence[PhotoStatistics]) -> Float32:
        grams = [packed_gram(self.network, q.arrays["query"]) for q in queries]
        return np.stack(grams).astype(np.float32)

    def _scores(self, grams: Float32, operator: Float32) -> Scores:
        distances: dict[str, Float32] = {}
        start = 0
        for level in self.network.levels:
            part = slice(start, start + level.packed)
            distances[level.name] = np.maximum(grams[:, part] @ operator[:, part].T, 0)
            start += level.packed
        fusion = self.network.fusion
        total = sum((fusion.weights[name] * d for name, d in distances.items()), np.float32(0))
        return Scores(distances, np.asarray(-total * fusion.scale / fusion.divisor, dtype=np.float32))
