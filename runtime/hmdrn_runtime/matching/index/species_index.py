"""A gallery's species in an index: each solved once, and found again by what its operator depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat

import numpy as np

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32, gram_sum
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.index.index import Classes, Index, Rows
from hmdrn_runtime.matching.index.operator_cache import Kept, Solved
from hmdrn_runtime.matching.index.projection import SAMPLE, fit_basis

PRUNED = 4000
"""Species from which on a basis is worth its own time: fewer are compared in full sooner."""
_STALE = 4
_PART = 1024
_GONE = 16
"""Species that are held though the gallery has them no more: to drop each at once takes a pass over all."""
_SEED = 0

Solve = Callable[[Sequence[Species]], list[Float32]]


def key_of(species: Species) -> bytes:
    """32 bytes that tell operators apart."""
    return hashlib.sha256("\n".join(species.key).encode()).digest()


@dataclass(frozen=True, eq=False)
class _Known:
    """An index, and where in it species are: replaced as a whole, so that other threads see what belongs
    together. Entries are added only.

    Attributes:
        index: Their operators.
        slots: Slots by `key_of`.
        seen: Slots by identity, for a key takes microseconds.
        alive: The species of `seen`, held so that an identity stays their own.
    """

    index: Index
    slots: dict[bytes, int] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    alive: list[Species] = field(default_factory=list)

    def seen_before(self, species: Sequence[Species]) -> Rows:
        """Slots by identity alone, -1 for others."""
        return np.fromiter(map(self.seen.get, map(id, species), repeat(-1)), np.intp, len(species))


class Enrolled:
    """Keeps the index of a gallery up to date. Not for several threads; what `classes` returns is.

    Args:
        network: A ridge network.
        solve: Gives the operators of species.
        kept: Operators from a file, and the basis to begin with.
    """

    def __init__(self, network: Network, solve: Solve, kept: Kept | None = None) -> None:
        self.network, self._solve, self._kept = network, solve, kept
        self._known = _Known(Index(network, None if kept is None else kept.basis))
        self._fitted = 0 if kept is None else kept.fitted
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
        slots, self._kept = self._slots(species), None
        if len(self._known.alive) > len(species) + _GONE:
            seen = dict(zip(map(id, species), slots.tolist(), strict=True))
            self._known = replace(self._known, seen=seen, alive=list(species))
        classes = self.index.classes(slots)
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

    @property
    def index(self) -> Index:
        """The operators of all that has been solved."""
        return self._known.index

    def known(self, species: Sequence[Species]) -> tuple[Index, Rows]:
        """An index, and the slots of species in it, intp (C,): -1 for one that has not been solved.

        Any thread may ask.
        """
        here = self._known
        found = here.seen_before(species)
        for i in np.flatnonzero(found < 0).tolist():
            found[i] = here.slots.get(key_of(species[i]), -1)
        return here.index, found

    def _slots(self, species: Sequence[Species]) -> Rows:
        here = self._known
        found = here.seen_before(species)
        unseen = [species[i] for i in np.flatnonzero(found < 0).tolist()]
        new = [s for s in unseen if key_of(s) not in here.slots]
        for start in range(0, len(new), _PART):
            part = new[start : start + _PART]
            missing = self._restored(part)
            if missing:
                rows = here.index.add(np.stack(self._solve(missing)))
                here.slots.update(zip(map(key_of, missing), map(int, rows), strict=True))
        found[found < 0] = slots = [here.slots[key_of(s)] for s in unseen]
        here.alive.extend(unseen)
        here.seen.update(zip(map(id, unseen), slots, strict=True))
        return found

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
            self._known.slots.update(zip(found, map(int, slots), strict=True))
        return [s for s in species if key_of(s) not in found]

    def _fit(self, species: Sequence[Species]) -> None:
        """Choose a basis by some of the species, and move all that are solved to an index of it."""
        chosen = np.random.default_rng(_SEED).permutation(len(species))[:SAMPLE]
        sample = [species[i] for i in sorted(chosen)]
        operators = self.index.classes(self._slots(sample)).operators()
        folding = self.index.folding
        # The mean of its photos stands for a species' photos to come.
        grams = np.stack([gram_sum(self.network, s.photos.values(), s.sums) / s.shots for s in sample])
        basis = fit_basis(operators * folding.operator, (grams * folding.gram).astype(np.float32))
        self._fitted = len(species)
        self._move(Index(self.network, basis), species)

    def _move(self, index: Index, species: Sequence[Species]) -> None:
        slots = self._known.slots
        keys = [key for key in map(key_of, species) if key in slots]
        for start in range(0, len(keys), _PART):
            rows = np.array([slots[key] for key in keys[start : start + _PART]], dtype=np.intp)
            index.add(self.index.classes(rows).operators())
        # A key that two species share is there twice: either serves.
        self._known = _Known(index, {key: row for row, key in enumerate(keys)})
