"""Comparison of two galleries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmdrn_runtime.gallery.gallery import Gallery


@dataclass(frozen=True)
class GalleryDiff:
    """Differences between two galleries, by their photos' digests.

    Attributes:
        only_first: Labels that only the first has.
        only_second: Labels that only the second has.
        differing: For labels that both have with different photos: photos of the first only, of the second
            only.
        renamed: Labels that only the first has, with the label under which the second has exactly those
            photos.
    """

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    differing: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    renamed: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.only_first or self.only_second or self.differing)


def diff_galleries(first: Gallery, second: Gallery) -> GalleryDiff:
    """Compare two galleries, even of different networks: a photo's digest does not depend on the network."""
    a = {label: species.digests for label, species in first.species.items()}
    b = {label: species.digests for label, species in second.species.items()}
    only_first = tuple(label for label in a if label not in b)
    only_second = tuple(label for label in b if label not in a)
    differing = {
        label: (tuple(sorted(a[label] - b[label])), tuple(sorted(b[label] - a[label])))
        for label in a
        if label in b and a[label] != b[label]
    }
    by_photos = {b[label]: label for label in only_second}
    renamed = {label: by_photos[a[label]] for label in only_first if a[label] in by_photos}
    return GalleryDiff(only_first, only_second, MappingProxyType(differing), MappingProxyType(renamed))
