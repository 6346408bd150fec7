"""What a gallery is asked at every enrollment, found without a pass over its thousands of species."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hmdrn_runtime.gallery.labels import folded
from hmdrn_runtime.gallery.species import Species

_Labels = dict[str, tuple[str, ...]]


class Register:
    """Which species hold a photo, and which labels people would take for one another.

    It follows a gallery from one state to the next, at the cost of what has changed. Not for several threads.
    """

    def __init__(self) -> None:
        self._species: Mapping[str, Species] = MappingProxyType({})
        self._holders: _Labels = {}
        """Labels by photo."""
        self._alike: _Labels = {}
        """Labels by what people read."""

    def follow(self, species: Mapping[str, Species]) -> None:
        """Be that of these species, by label: those that are other objects than before are looked at."""
        before = self._species
        if species is before:
            return
        for label in before.keys() - species.keys():
            self._take_out(before[label])
        for label, one in species.items():
            if before.get(label) is not one:
                self._change(before.get(label), one)
        self._species = species

    def follow_one(self, species: Mapping[str, Species], label: str) -> None:
        """As `follow`, of species that differ from those before by the one of a label alone."""
        self._change(self._species.get(label), species[label])
        self._species = species

    def holders(self, label: str, photos: Iterable[str]) -> tuple[str, ...]:
        """The labels of the species other than `label` that hold one of the photos (digests), sorted."""
        found = {name for digest in photos for name in self._holders.get(digest, ())}
        return tuple(sorted(found - {label}))

    def lookalikes(self, label: str) -> tuple[str, ...]:
        """The labels other than `label` that differ from it in case or blanks alone, sorted."""
        return tuple(sorted({*self._alike.get(folded(label), ())} - {label}))

    def _change(self, before: Species | None, after: Species) -> None:
        if before is not None:
            self._take_out(before)
        own = (after.label,)
        for entries, keys in ((self._holders, after.digests), (self._alike, (folded(after.label),))):
            for key in keys:
                others = entries.get(key)
                entries[key] = own if others is None else others + own

    def _take_out(self, species: Species) -> None:
        for entries, keys in ((self._holders, species.digests), (self._alike, (folded(species.label),))):
            for key in keys:
                left = tuple(label for label in entries[key] if label != species.label)
                if left:
                    entries[key] = left
                else:
                    del entries[key]
