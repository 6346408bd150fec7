"""One enrolled species: its photos' statistics, and their merging."""

from __future__ import annotations

import copyreg
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.labels import normalize_label
from hmdrn_runtime.gallery.photo_record import merge_records
from hmdrn_runtime.gallery.photo_statistics import ClassSum, PhotoStatistics, gram_sum
from hmdrn_runtime.messages import abbreviate_names, suggest_names


def _make_read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)


# Python cannot pickle or copy read-only mappings, which species and reports have.
copyreg.pickle(MappingProxyType, lambda proxy: (_make_read_only, (dict(proxy),)))


@dataclass(frozen=True)
class Species:
    """One enrolled class.

    Attributes:
        label: Its name.
        photos: Its photos by digest; at least one, unless there is a sum.
        sums: Sums over compacted photos, ordered by their digests.

    Examples:
        >>> species = hmdrn.load_gallery("site7.gallery").species["Sooty Albatross"]
        >>> species.shots
        3
    """

    label: str
    photos: Mapping[str, PhotoStatistics]
    sums: tuple[ClassSum, ...] = ()

    @property
    def shots(self) -> int:
        """Number of photos, including those within sums."""
        return len(self.photos) + sum(len(part.digests) for part in self.sums)

    @property
    def digests(self) -> frozenset[str]:
        """The photos' digests, including those within sums."""
        return frozenset(self.photos).union(*(part.digests for part in self.sums))

    def list_photos(self) -> list[PhotoStatistics]:
        """Return its photos by name, those without a name last; not those within sums."""
        return sorted(self.photos.values(), key=lambda p: (not p.record.name, p.record.name, p.digest))

    @cached_property
    def key(self) -> bytes:
        """SHA-256 of everything that the class's operator depends on, 32 bytes."""
        photos = (self.photos[digest].content for digest in sorted(self.photos))
        sums = (f"{len(part.digests)} {part.content}" for part in self.sums)
        return hashlib.sha256("\n".join((*photos, *sums)).encode()).digest()


def extend_species(species: Species | None, label: str, photos: Iterable[PhotoStatistics]) -> Species:
    """Add photos to a species, each digest once; a photo within a sum is not added again.

    Raises:
        EnrollmentError: No photo.
    """
    check_kind(photos, Iterable, "photos", "pass a list of statistics", EnrollmentError)
    photos = list(photos)
    for photo in photos:
        check_kind(photo, PhotoStatistics, "photo", "pass photos to Recognizer.enroll", EnrollmentError)
    merged = {} if species is None else dict(species.photos)
    sums = () if species is None else species.sums
    summed = {digest for part in sums for digest in part.digests}
    for photo in photos:
        if photo.digest not in summed:
            known = merged.get(photo.digest)
            merged[photo.digest] = photo if known is None else _prefer(known, photo)
    if not merged and not sums:
        raise EnrollmentError(f"no photo for {label!r}: give at least one")
    return Species(label, MappingProxyType(merged), sums)


def merge_species(first: Species | None, second: Species) -> Species:
    """Merge two devices' photos of one species: the union by digest, whatever the order.

    A photo that is within a sum of one and by itself in the other counts once, within the sum.

    Raises:
        GalleryError: Two sums share some of their photos, which would count twice.
    """
    if first is None:
        return second
    sums: list[ClassSum] = []
    # The largest first: a sum that lies within another adds nothing.
    for part in sorted({*first.sums, *second.sums}, key=lambda s: (-len(s.digests), s.digests, s.content)):
        if any(set(part.digests) <= set(larger.digests) for larger in sums):
            continue
        if any(not set(part.digests).isdisjoint(larger.digests) for larger in sums):
            raise GalleryError(
                f"{first.label!r} was compacted on both sides with some of the same photos, which would "
                "count twice: forget it on one side first, or merge galleries from before they were compacted"
            )
        sums.append(part)
    summed = {digest for part in sums for digest in part.digests}
    photos = {digest: photo for digest, photo in first.photos.items() if digest not in summed}
    parts = tuple(sorted(sums, key=lambda part: part.digests))
    return extend_species(Species(first.label, photos, parts), first.label, second.photos.values())


def compact_species(network: Network, species: Species) -> Species:
    """Sum up all photos of a species; if it had no sums, its operator stays the same bit for bit."""
    total = gram_sum(network, species.photos.values(), species.sums)
    variants = {photo.variant for photo in species.photos.values()}
    variants |= {name for part in species.sums for name in part.variant.split("+")}
    part = ClassSum(tuple(sorted(species.digests)), "+".join(sorted(variants)), total.astype("float32"))
    return Species(species.label, MappingProxyType({}), (part,))


def find_species(species: Mapping[str, Species], label: str) -> Species:
    """Return the species of a label, in any Unicode normal form.

    Raises:
        GalleryError: There is none; the message suggests similar labels.
    """
    name = normalize_label(label)
    if name in species:
        return species[name]
    more = f" and {len(species) - 8} more" if len(species) > 8 else ""
    content = f"it has {', '.join(list(species)[:8])}{more}" if species else "it is empty"
    raise GalleryError(f"no species {name!r} in the gallery: {suggest_names(name, species)}{content}")


def find_photo(species: Species, photo: str) -> PhotoStatistics:
    """Return a photo that is not part of a sum, by its file's name or a beginning of its digest.

    Raises:
        GalleryError: No such photo, several, or one within the sum of a compacted species.
    """
    if not isinstance(photo, str):
        raise GalleryError(f"photo is {photo!r}: give its name or the beginning of its digest, a text")
    titles = {d: species.photos[d].title if d in species.photos else d[:12] for d in sorted(species.digests)}
    named = {digest for digest, member in species.photos.items() if member.record.name == photo}
    matches = [digest for digest in titles if photo and (digest in named or digest.startswith(photo))]
    if len(matches) != 1:
        listed = abbreviate_names([titles[digest] for digest in matches or titles])
        raise GalleryError(
            f"{len(matches)} photos of {species.label!r} have the name {photo!r}, or a digest that starts "
            f"with it: give the name or the beginning of the digest of one of {listed}"
        )
    (digest,) = matches
    if digest not in species.photos:
        raise GalleryError(
            f"photo {digest[:12]} of {species.label!r} is part of a sum since the species was compacted, "
            "and cannot be removed: forget the whole species and enroll its other photos again"
        )
    return species.photos[digest]


def _prefer(first: PhotoStatistics, second: PhotoStatistics) -> PhotoStatistics:
    """Choose between two devices' statistics of one photo, rounded differently, whatever the order."""
    preferred = min(first, second, key=lambda p: (p.variant != "fp32", p.variant, p.content))
    thumbnails = (p.thumbnail for p in (first, second) if p.thumbnail is not None)
    record = merge_records(first.record, second.record)
    return preferred.with_details(record, min(thumbnails, default=None))
