"""A gallery's species in an index, each solved once and found by its operator's key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.index.index import Index, IndexView, Rows
from hmdrn_runtime.matching.index.operator_cache import CachedOperators, SolvedOperators

MAX_REMOVED = 4000
"""Removed species, beyond as many as there are, whose operators stay in memory."""
_PART = 1024

Solve = Callable[[Sequence[Species]], list[Float32]]


class SpeciesIndex:
    """Updates the index of a gallery. Not thread-safe, except for `find` and the views of `classes`.

    Args:
        network: A ridge network.
        solve: Returns the operators of species.
        cached: Operators from a file.
    """

    def __init__(self, network: Network, solve: Solve, cached: CachedOperators | None = None) -> None:
        self.network, self._solve, self._cached = network, solve, cached
        # Slots by species' keys. Replaced as a pair, so that other threads see what belongs together.
        self._pair = Index(network), dict[bytes, int]()
        self._latest: tuple[Sequence[Species], IndexView] = (), self.index.classes(np.zeros(0, np.intp))

    def classes(self, species: Sequence[Species]) -> IndexView:
        """Return the classes of these species, in their order; new ones are solved.

        Raises:
            EnrollmentError: A class that cannot be solved.
        """
        if len(self.index) > 2 * len(species) + MAX_REMOVED:
            self._move(species)
        slots, self._cached = self._find_or_solve(species), None
        classes = self.index.classes(slots)
        self._latest = tuple(species), classes
        return classes

    def solved_operators(self) -> SolvedOperators:
        """Return the operators of the last `classes`, ready to be written; thread-safe."""
        species, classes = self._latest
        # Two species with the same photos share a key.
        keys = {s.key: slot for s, slot in zip(species, classes.slots, strict=True)}
        slots = np.array(list(keys.values()), dtype=np.intp)
        return SolvedOperators(
            list(keys), lambda start, end: replace(classes, slots=slots[start:end]).operators()
        )

    @property
    def index(self) -> Index:
        """The operators of all species solved so far."""
        return self._pair[0]

    def find(self, species: Sequence[Species]) -> tuple[Index, Rows]:
        """Return an index and the slots of species in it, intp (C,), -1 for unsolved ones; thread-safe."""
        index, slots = self._pair
        return index, np.fromiter((slots.get(s.key, -1) for s in species), np.intp, len(species))

    def _find_or_solve(self, species: Sequence[Species]) -> Rows:
        index, slots = self._pair
        new = [s for s in species if s.key not in slots]
        for start in range(0, len(new), _PART):
            missing = self._restore(new[start : start + _PART])
            if missing:
                added = index.add(np.stack(self._solve(missing)))
                slots.update(zip((s.key for s in missing), map(int, added), strict=True))
        return np.fromiter((slots[s.key] for s in species), np.intp, len(species))

    def _restore(self, species: Sequence[Species]) -> Sequence[Species]:
        """Add the operators that the file has; returns the other species."""
        cached = {} if self._cached is None else self._cached.read([s.key for s in species])
        if self._cached is not None and cached:
            index, slots = self._pair
            added = index.add(np.stack(list(cached.values())))
            slots.update(zip(cached, map(int, added), strict=True))
        return [s for s in species if s.key not in cached]

    def _move(self, species: Sequence[Species]) -> None:
        """Move the operators of species to another index, without those of removed ones."""
        index, slots = Index(self.network), self._pair[1]
        keys = [s.key for s in species if s.key in slots]
        for start in range(0, len(keys), _PART):
            rows = np.array([slots[key] for key in keys[start : start + _PART]], dtype=np.intp)
            index.add(self.index.classes(rows).operators())
        # A key that two species share is there twice; either will do.
        self._pair = index, {key: row for row, key in enumerate(keys)}
