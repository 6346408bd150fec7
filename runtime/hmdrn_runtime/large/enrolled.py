"""A gallery's species in an index: each solved once, and found again by what its operator depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hmdrn_runtime.large.basis import SAMPLE, fit_basis
from hmdrn_runtime.large.index import Classes, Index
from hmdrn_runtime.large.kept import Kept, Solved
from hmdrn_runtime.manifest import Network
from hmdrn_runtime.species import Species
from hmdrn_runtime.statistics import Float32, gram_sum

PRUNED = 4000
"""Species from which on a basis is worth its own time: fewer are compared in full sooner."""
_STALE = 4
_PART = 1024
_SEED = 0

Solve = Callable[[Sequence[Species]], list[Float32]]


def key_of(species: Species) -> bytes:
    """32 bytes that tell operators apart."""
    return hashlib.sha256("\n".join(species.key).encode()).digest()


class Enrolled:
    """Keeps the index of a gallery up to date. Not for several threads; what `classes` returns is.

    Args:
        network: A ridge network.
        solve: Gives the operators of species.
        kept: Operators from a file, and the basis to begin with.
    """

    def __init__(self, network: Network, solve: Solve, kept: Kept | None = None) -> None:
        self.network, self._solve, self._kept = network, solve, kept
        self.index = Index(network, None if kept is None else kept.basis)
        self.slots: dict[bytes, int] = {}
        """Slots by `key_of`."""
        self._fitted = 0 if kept is None else kept.fitted
        # By identity: a key takes microseconds. The species are held, so that an identity stays their own.
        self._seen: dict[int, int] = {}
        self._held: tuple[Sequence[Species], Classes] = (), self.index.classes(np.zeros(0, np.intp))

    def classes(self, species: Sequence[Species]) -> Classes:
        """The classes of these species, in their order; those that are new are solved.

        Raises:
            EnrollmentError: A class that cannot be solved.
        """
        if len(species) >= PRUNED and len(species) > _STALE * self._fitted:
            self._fit(species)
        elif len(self.index) > 2 * len(species) + PRUNED:
            self._move(Index(self.network, self.index.basis), species)  # mostly of species that are gone
        slots = self._slots(species)
        self._seen, self._kept = dict(zip(map(id, species), slots, strict=True)), None
        classes = self.index.classes(np.array(slots, dtype=np.intp))
        self._held = tuple(species), classes
        return classes

    def solved(self) -> Solved:
        """What `classes` has last answered, to be kept in a file; any thread may ask."""
        species, classes = self._held
        # Of two species with the same photos, either serves.
        keys = {key_of(s): slot for s, slot in zip(species, classes.slots, strict=True)}
        slots = np.array(list(keys.values()), dtype=np.intp)
        return Solved(
            list(keys),
            lambda start, end: replace(classes, slots=slots[start:end]).rows(),
            classes.index.basis,
            self._fitted,
        )

    def known(self, species: Species) -> int | None:
        """The slot of a species that has been solved."""
        seen = self._seen.get(id(species))
        return self.slots.get(key_of(species)) if seen is None else seen

    def _slots(self, species: Sequence[Species]) -> list[int]:
        found = list(map(self._seen.get, map(id, species)))
        known = [slot for slot in found if slot is not None]
        if len(known) == len(found):
            return known
        for i in [i for i, slot in enumerate(found) if slot is None]:
            found[i] = self.slots.get(key_of(species[i]))
        new = [s for s, slot in zip(species, found, strict=True) if slot is None]
        for start in range(0, len(new), _PART):
            part = new[start : start + _PART]
            missing = self._restored(part)
            if missing:
                rows = self.index.add(np.stack(self._solve(missing)))
                self.slots.update(zip(map(key_of, missing), map(int, rows), strict=True))
        if new:
            found = [
                self.slots[key_of(s)] if slot is None else slot
                for s, slot in zip(species, found, strict=True)
            ]
        return [slot for slot in found if slot is not None]

    def _restored(self, species: Sequence[Species]) -> Sequence[Species]:
        """Take over what the file has of species; returns the others."""
        if self._kept is None:
            return species
        found = self._kept.read([key_of(s) for s in species])
        if found:
            rows = np.stack(list(found.values()))
            if self._kept.basis is self.index.basis:
                slots = self.index.restore(rows)
            else:
                slots = self.index.add(rows[:, : self.network.packed])
            self.slots.update(zip(found, map(int, slots), strict=True))
        return [s for s in species if key_of(s) not in found]

    def _fit(self, species: Sequence[Species]) -> None:
        """Choose a basis by some of the species, and move all that are solved to an index of it."""
        chosen = np.random.default_rng(_SEED).permutation(len(species))[:SAMPLE]
        sample = [species[i] for i in sorted(chosen)]
        operators = self.index.classes(np.array(self._slots(sample), dtype=np.intp)).operators()
        folding = self.index.folding
        # The mean of its photos stands for a species' photos to come.
        grams = np.stack([gram_sum(self.network, s.photos.values(), s.sums) / s.shots for s in sample])
        basis = fit_basis(operators * folding.operator, (grams * folding.gram).astype(np.float32))
        self._fitted = len(species)
        self._move(Index(self.network, basis), species)

    def _move(self, index: Index, species: Sequence[Species]) -> None:
        keys = [key for key in map(key_of, species) if key in self.slots]
        for start in range(0, len(keys), _PART):
            rows = np.array([self.slots[key] for key in keys[start : start + _PART]], dtype=np.intp)
            index.add(self.index.classes(rows).operators())
        # A key that two species share is there twice: either serves.
        self.index, self.slots, self._seen = index, {key: row for row, key in enumerate(keys)}, {}
