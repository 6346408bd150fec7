"""How two galleries differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmdrn_runtime.gallery.gallery import Gallery


@dataclass(frozen=True)
class Difference:
    """What one gallery has that another has not, by photos' digests.

    Attributes:
        only_first: Labels that only the first has.
        only_second: Labels that only the second has.
        differing: For labels that both have with different photos: photos of the first alone, of the second
            alone.
        renamed: Labels that only the first has, with the label under which the second has exactly those
            photos.
    """

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    differing: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    renamed: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.only_first or self.only_second or self.differing)


def difference(first: Gallery, second: Gallery) -> Difference:
    """Compare two galleries, which need not be of one network: a photo's digest does not depend on it."""
    one = {label: species.digests for label, species in first.species.items()}
    two = {label: species.digests for label, species in second.species.items()}
    only_first = tuple(label for label in one if label not in two)
    only_second = tuple(label for label in two if label not in one)
    differing = {
        label: (tuple(sorted(one[label] - two[label])), tuple(sorted(two[label] - one[label])))
        for label in one
        if label in two and one[label] != two[label]
    }
    by_photos = {two[label]: label for label in only_second}
    renamed = {label: by_photos[one[label]] for label in only_first if one[label] in by_photos}
    return Difference(only_first, only_second, MappingProxyType(differing), MappingProxyType(renamed))
