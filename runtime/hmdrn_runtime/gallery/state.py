"""Immutable states of a gallery, and the next state after a change."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from hmdrn_runtime.gallery.history import MAX_CHANGES, Change, make_change
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.gallery.photo_record import MAX_TEXT
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species, extend_species, find_photo


@dataclass(frozen=True)
class GalleryState:
    """A gallery at one moment; a change makes a new state.

    Attributes:
        generation: Number of changes made so far; equal generations of one gallery are equal states.
        species: The species by label, sorted by label.
        history: The last changes, oldest first.
        calibration: The fit of probabilities and of the open-set threshold; a JSON object, opaque here.
    """

    generation: int
    species: Mapping[str, Species]
    history: tuple[Change, ...] = ()
    calibration: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class FileStamp:
    """A state that was read from or written to a file, and that file's SHA-256."""

    checksum: str
    state: GalleryState


@dataclass(frozen=True)
class MergeReport:
    """Result of a merge.

    Attributes:
        added: Labels that were new.
        extended: Number of photos added to species that were there already, by label.

    Examples:
        >>> gallery = hmdrn.load_gallery("site7.gallery")
        >>> dict(gallery.merge(hmdrn.load_gallery("site8.gallery")).extended)
        {'Sooty Albatross': 2}
    """

    added: tuple[str, ...]
    extended: Mapping[str, int]


def add_photos(state: GalleryState, label: str, photos: Iterable[PhotoStatistics]) -> GalleryState:
    """Add photos to a species; returns the state itself if it has them all.

    Raises:
        EnrollmentError: A bad label, or no photo at all.
    """
    label = clean_label(label)
    old = state.species.get(label)
    changed = extend_species(old, label, photos)
    if changed == old:
        return state
    # Insert in place: re-sorting thousands of labels is slower than one solve. Two lists, because thousands
    # of tuples would trigger garbage collection.
    labels, species = list(state.species), list(state.species.values())
    if old is None:
        place = bisect_left(labels, label)
        labels.insert(place, label)
        species.insert(place, changed)
    else:
        species[labels.index(label)] = changed
    ordered = MappingProxyType(dict(zip(labels, species, strict=True)))
    count = changed.shots - (old.shots if old else 0)
    what = f"added {count} photo{'s' * (count != 1)}"
    return next_state(state, ordered, state.calibration, what, label)


def correct_photo(state: GalleryState, label: str, photo: PhotoStatistics) -> GalleryState:
    """Add a photo to its right species, and remove it from all others; a species without photos is removed.

    Raises:
        EnrollmentError: A bad label.
        GalleryError: It is within the sum of another species, which was compacted.
    """
    label = clean_label(label)
    species = dict(state.species)
    members = [photo]
    wrong = [s for s in state.species.values() if s.label != label and photo.digest in s.digests]
    for other in wrong:
        member = find_photo(other, photo.digest)
        members.append(member)
        photos = {digest: value for digest, value in other.photos.items() if value is not member}
        species[other.label] = Species(other.label, MappingProxyType(photos), other.sums)
        if not photos and not other.sums:
            del species[other.label]
    old = species.get(label)
    species[label] = extend_species(old, label, members)
    if not wrong and species[label] == old:
        return state
    names = " and ".join(repr(other.label) for other in wrong)
    what = f"corrected: moved photo {photo.title} from {names}" if wrong else f"added photo {photo.title}"
    return next_state(state, sort_species(species), state.calibration, what, label)


def annotate_photos(state: GalleryState, label: str, verdicts: Mapping[str, str]) -> GalleryState:
    """Store verdicts of a species' photos, by digest; no change in the sense of the generation."""
    species = state.species.get(label)
    if species is None:
        return state
    photos = dict(species.photos)
    for digest, verdict in verdicts.items():
        if digest in photos:
            photo = photos[digest]
            record = replace(photo.record, verdict=verdict[:MAX_TEXT])
            photos[digest] = photo.with_details(record, photo.thumbnail)
    annotated = Species(label, MappingProxyType(photos), species.sums)
    if annotated == species:
        return state
    return replace(state, species=MappingProxyType({**state.species, label: annotated}))


def next_state(
    old: GalleryState,
    species: Mapping[str, Species],
    calibration: Mapping[str, Any] | None,
    what: str,
    label: str | None,
) -> GalleryState:
    """Return the state after a change; `species` is sorted, `what` and `label` are for the history."""
    generation = old.generation + 1
    history = (*old.history, make_change(generation, what, label))[-MAX_CHANGES:]
    return GalleryState(generation, species, history, calibration)


def sort_species(species: Mapping[str, Species]) -> Mapping[str, Species]:
    """Return an immutable mapping of the species, sorted by label."""
    labels = sorted(species)
    return MappingProxyType(dict(zip(labels, map(species.__getitem__, labels), strict=True)))
