"""One enrolled species: its photos' statistics, and how two devices' knowledge of it becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.photo_statistics import ClassSum, PhotoStatistics, gram_sum


@dataclass(frozen=True)
class Species:
    """One enrolled class.

    Attributes:
        label: Its name.
        photos: Its photos by digest; at least one, if there is no sum.
        sums: What compacting left of further photos, in the order of their digests.
    """

    label: str
    photos: Mapping[str, PhotoStatistics]
    sums: tuple[ClassSum, ...] = ()

    @property
    def shots(self) -> int:
        """Number of photos, those within sums included."""
        return len(self.photos) + sum(len(part.digests) for part in self.sums)

    @property
    def digests(self) -> frozenset[str]:
        """The photos' digests, those within sums included."""
        return frozenset(self.photos).union(*(part.digests for part in self.sums))

    @property
    def key(self) -> tuple[str, ...]:
        """What the class's operator depends on: the same key, the same operator."""
        photos = (self.photos[digest].content for digest in sorted(self.photos))
        return (*photos, *(f"{len(part.digests)} {part.content}" for part in self.sums))


def with_photos(species: Species | None, label: str, photos: Iterable[PhotoStatistics]) -> Species:
    """A species with photos added by digest; one that is part of a sum is there already.

    Raises:
        EnrollmentError: There is no photo.
    """
    merged = {} if species is None else dict(species.photos)
    sums = () if species is None else species.sums
    summed = frozenset[str]().union(*(part.digests for part in sums))
    for photo in photos:
        if photo.digest not in summed:
            known = merged.get(photo.digest)
            merged[photo.digest] = photo if known is None else _preferred(known, photo)
    if not merged and not sums:
        raise EnrollmentError(f"no photo for {label!r}: give at least one")
    return Species(label, MappingProxyType(merged), sums)


def joined(one: Species | None, other: Species) -> Species:
    """Two devices' photos of one species as one: a union by digest, free of order.

    A photo that is part of the one's sum and by itself in the other counts once, as part of the sum.

    Raises:
        GalleryError: Two sums share some of their photos, and cannot be told apart any more.
    """
    if one is None:
        return other
    sums: list[ClassSum] = []
    # The largest first: a sum that lies within another says nothing new.
    for part in sorted({*one.sums, *other.sums}, key=lambda s: (-len(s.digests), s.digests, s.content)):
        if any(set(part.digests) <= set(kept.digests) for kept in sums):
            continue
        if any(not set(part.digests).isdisjoint(kept.digests) for kept in sums):
            raise GalleryError(
                f"{one.label!r} was compacted on both sides with some of the same photos, which would count "
                "twice: forget it on one side first, or merge galleries from before they were compacted"
            )
        sums.append(part)
    summed = frozenset[str]().union(*(part.digests for part in sums))
    photos = {digest: photo for digest, photo in one.photos.items() if digest not in summed}
    parts = tuple(sorted(sums, key=lambda part: part.digests))
    left = [photo for digest, photo in other.photos.items() if digest not in summed]
    return with_photos(Species(one.label, photos, parts), one.label, left)


def compacted(network: Network, species: Species) -> Species:
    """A species as one sum; its operator is the same to the last bit where it was all photos before."""
    total = gram_sum(network, species.photos.values(), species.sums)
    variants = {photo.variant for photo in species.photos.values()}
    variants |= {name for part in species.sums for name in part.variant.split("+")}
    part = ClassSum(tuple(sorted(species.digests)), "+".join(sorted(variants)), total.astype("float32"))
    return Species(species.label, MappingProxyType({}), (part,))


def _preferred(one: PhotoStatistics, other: PhotoStatistics) -> PhotoStatistics:
    """One photo, two devices, different rounding: which statistics to keep must not depend on the order."""
    kept = min(one, other, key=lambda p: (p.variant != "fp32", p.variant, p.content))
    return kept.with_thumbnail(one.thumbnail or other.thumbnail)
