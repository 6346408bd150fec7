"""What a gallery is asked at every enrollment, found without a pass over its thousands of species."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hmdrn_runtime.labels import folded
from hmdrn_runtime.species import Species


class Register:
    """Which species hold a photo, and which labels people would take for one another.

    Args:
        species: By label.
    """

    def __init__(self, species: Mapping[str, Species]) -> None:
        self._holders: dict[str, list[str]] = {}
        self._alike: dict[str, list[str]] = {}
        self._digests: dict[str, frozenset[str]] = {}
        for label, one in species.items():
            self.put(label, one)

    def put(self, label: str, species: Species) -> None:
        """Take in a species, or its further photos."""
        known = self._digests.get(label)
        if known is None:
            self._alike.setdefault(folded(label), []).append(label)
        self._digests[label] = species.digests
        for digest in species.digests.difference(known or ()):
            self._holders.setdefault(digest, []).append(label)

    def holders(self, label: str, photos: Iterable[str]) -> tuple[str, ...]:
        """The labels of the species other than `label` that hold one of the photos (digests), sorted."""
        found = {name for digest in photos for name in self._holders.get(digest, ())}
        return tuple(sorted(found - {label}))

    def lookalikes(self, label: str) -> tuple[str, ...]:
        """The labels other than `label` that differ from it in case or blanks alone, sorted."""
        return tuple(sorted(set(self._alike.get(folded(label), ())) - {label}))
