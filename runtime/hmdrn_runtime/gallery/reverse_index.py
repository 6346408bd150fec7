"""Reverse index of a gallery: labels by photo, so that an enrollment need not scan thousands of species."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hmdrn_runtime.gallery.labels import fold_label
from hmdrn_runtime.gallery.species import Species

_Labels = dict[str, tuple[str, ...]]


class PhotoLabelIndex:
    """Labels by photo digest, and by folded label.

    Follows a gallery from one state to the next, at the cost of the changed species. Not thread-safe.
    """

    def __init__(self) -> None:
        self._species: Mapping[str, Species] = MappingProxyType({})
        self._by_photo: _Labels = {}
        self._by_folded: _Labels = {}

    def update(self, species: Mapping[str, Species]) -> None:
        """Index these species, by label; objects that are the same as before are skipped."""
        before = self._species
        if species is before:
            return
        for label in before.keys() - species.keys():
            self._remove(before[label])
        for label, changed in species.items():
            if before.get(label) is not changed:
                self._replace(before.get(label), changed)
        self._species = species

    def update_species(self, species: Mapping[str, Species], label: str) -> None:
        """Update to species that differ from those before in the one of this label only."""
        self._replace(self._species.get(label), species[label])
        self._species = species

    def find_holders(self, label: str, photos: Iterable[str]) -> tuple[str, ...]:
        """Return the labels of species other than `label` that hold one of the photos (digests), sorted."""
        holders = {name for digest in photos for name in self._by_photo.get(digest, ())}
        return tuple(sorted(holders - {label}))

    def find_lookalikes(self, label: str) -> tuple[str, ...]:
        """Return the labels other than `label` that look like it, sorted."""
        return tuple(sorted({*self._by_folded.get(fold_label(label), ())} - {label}))

    def _replace(self, before: Species | None, after: Species) -> None:
        if before is not None:
            self._remove(before)
        own = (after.label,)  # one tuple for all photos of a species
        for index, keys in self._entries(after):
            for key in keys:
                index[key] = index[key] + own if key in index else own

    def _remove(self, species: Species) -> None:
        for index, keys in self._entries(species):
            for key in keys:
                labels = tuple(label for label in index.pop(key) if label != species.label)
                if labels:
                    index[key] = labels

    def _entries(self, species: Species) -> tuple[tuple[_Labels, Iterable[str]], ...]:
        return (self._by_photo, species.digests), (self._by_folded, (fold_label(species.label),))
