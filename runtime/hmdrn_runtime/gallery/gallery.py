"""The gallery: the enrolled species of a device, as statistics of their photos, never the photos."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.history import KEPT, Change
from hmdrn_runtime.gallery.labels import MAX_LABEL, clean_label, normalised
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, array_shapes
from hmdrn_runtime.gallery.species import Species, compacted, joined, with_photos
from hmdrn_runtime.gallery.state import MergeReport, State, Written, added, following, in_order
from hmdrn_runtime.messages import did_you_mean

__all__ = [
    "MAX_LABEL",
    "Gallery",
    "MergeReport",
    "Species",
    "State",
    "Written",
    "check_network",
    "clean_label",
    "with_photos",
]


class Gallery:
    """Species by label. Each change swaps the whole state at once: a reader never sees half of one.

    Args:
        network: The network that the statistics are of.
        species: Initial species by label.
        generation: Number of changes made so far.
        history: The last of those changes.
        calibration: As in `State`.
    """

    def __init__(
        self,
        network: Network,
        species: Mapping[str, Species] | None = None,
        generation: int = 0,
        history: tuple[Change, ...] = (),
        calibration: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network
        self._lock = threading.Lock()
        self._here = threading.local()
        self._state = State(generation, in_order(species or {}), history[-KEPT:], calibration)
        self.files: dict[Path, Written] = {}
        """What this gallery last knew of files that it was read from or written to."""

    def snapshot(self) -> State:
        """All of one moment."""
        return self._state

    @property
    def generation(self) -> int:
        """Counts the changes; equal generations of one gallery are equal states."""
        return self._state.generation

    @property
    def changed_here(self) -> int:
        """The generation after the last change by the thread that asks; -1 if it has made none."""
        return getattr(self._here, "generation", -1)

    @property
    def species(self) -> Mapping[str, Species]:
        """The species by label, sorted by label; a snapshot that later changes do not touch."""
        return self._state.species

    @property
    def history(self) -> tuple[Change, ...]:
        """The last changes, oldest first."""
        return self._state.history

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """What `calibrate` was given; None before, and after a merge, which makes it void."""
        return self._state.calibration

    def __len__(self) -> int:
        return len(self.species)

    def __repr__(self) -> str:
        state = self._state
        shots = sum(s.shots for s in state.species.values())
        photos = f"{shots} photo{'s' * (shots != 1)}"
        return f"<Gallery of {len(state.species)} species, {photos}, generation {state.generation}>"

    def __contains__(self, label: str) -> bool:
        return normalised(label) in self.species

    def __iter__(self) -> Iterator[str]:
        return iter(self.species)

    def add(self, label: str, photos: Iterable[PhotoStatistics]) -> int:
        """Add photos to a species, which need not exist; one that it has already counts once.

        Returns:
            How many photos were new to it.

        Raises:
            EnrollmentError: A bad label, or no photo at all.
        """
        label = clean_label(label)
        with self._lock:
            before = self._state
            self._put(added(before, label, photos))
            return self._state.shots(label) - before.shots(label)

    def forget(self, label: str, photo: str | None = None) -> None:
        """Remove a species, or one photo of it; the last photo takes the species with it.

        Args:
            label: The species.
            photo: Digest of the photo, or a beginning that only one has; all photos if None.

        Raises:
            GalleryError: No such species or photo, or a photo that compacting has made part of a sum.
        """
        with self._lock:
            species = dict(self.species)
            old = self._find(label)
            del species[old.label]
            if photo is None:
                self._swap(species, "forgot", old.label)
                return
            matches = [digest for digest in old.digests if digest.startswith(photo)] if photo else []
            if len(matches) != 1:
                raise GalleryError(
                    f"{len(matches)} photos of {old.label!r} have a digest that starts with {photo!r}: "
                    f"it has {', '.join(d[:12] for d in sorted(old.digests))}"
                )
            if matches[0] not in old.photos:
                raise GalleryError(
                    f"photo {matches[0][:12]} of {old.label!r} is part of a sum since it was compacted, and "
                    "cannot be taken out: forget the whole species and enroll its other photos again"
                )
            left = {digest: kept for digest, kept in old.photos.items() if digest != matches[0]}
            if left or old.sums:
                species[old.label] = Species(old.label, MappingProxyType(left), old.sums)
            self._swap(species, f"forgot photo {matches[0][:12]}", old.label)

    def rename(self, label: str, new: str, join: bool = False) -> None:
        """Give a species another name.

        Args:
            label: The species.
            new: Its new label.
            join: Whether a species that has this label already becomes one with it.

        Raises:
            GalleryError: No such species; or the new label is taken, and `join` false.
            EnrollmentError: A bad new label.
        """
        new = clean_label(new)
        with self._lock:
            old = self._find(label)
            if new == old.label:
                return
            if new in self.species and not join:
                raise GalleryError(
                    f"there is a species {new!r} already: choose another label, or join the two "
                    "(join=True, --join)"
                )
            moved = joined(self.species.get(new), Species(new, old.photos, old.sums))
            species = {**self.species, new: moved}
            del species[old.label]
            self._swap(species, f"renamed from {old.label!r}", new)

    def merge(self, other: Gallery, only: Iterable[str] | None = None) -> MergeReport:
        """Take in another device's gallery: a union by photo, exact and free of order.

        Species of one label become one species, with the photos of both. A calibration is dropped where
        anything changes: it was made for other species.

        Args:
            other: The other gallery, which stays as it is.
            only: Labels of the species to take; all if None.

        Raises:
            GalleryError: The other gallery is of another network, has no such label, or is no gallery at
                all; or a species was compacted on both sides with some of the same photos.
        """
        if not isinstance(other, Gallery):
            raise GalleryError(
                f"{type(other).__name__} is no gallery: read a file with hmdrn.load_gallery first"
            )
        check_network(self.network, other.network, "the other gallery")
        incoming = other.species if only is None else other.choose(only)
        with self._lock:
            merged = dict(self.species)
            for label, species in incoming.items():
                merged[label] = joined(merged.get(label), species)
            added = tuple(label for label in incoming if label not in self.species)
            extended = {
                label: merged[label].shots - self.species[label].shots
                for label in incoming
                if label in self.species and merged[label].shots > self.species[label].shots
            }
            if any(merged[label] != self.species.get(label) for label in incoming):
                self._swap(merged, f"merged {len(incoming)} species", None, calibration=None)
            return MergeReport(added, MappingProxyType(extended))

    def choose(self, labels: Iterable[str]) -> dict[str, Species]:
        """The species of these labels.

        Raises:
            GalleryError: There is none of a label.
        """
        state = self._state
        return {s.label: s for s in (find_species(state.species, label) for label in labels)}

    def compact(self, labels: Iterable[str] | None = None) -> int:
        """Keep of each species one sum in place of its photos. Classification answers as before, bit for bit.

        What is lost, for good: forgetting a single photo, comparing a photo with the others of its species,
        thumbnails, and merging with a gallery that shares some, not all, of the photos in a compacted form.

        Args:
            labels: The species; all if None.

        Returns:
            How many photos were made part of sums.

        Raises:
            GalleryError: No such species, or a network that needs every photo's own statistics.
        """
        if self.network.head != "ridge":
            raise GalleryError(
                f"the head {self.network.head!r} classifies with every photo's own statistics: "
                "a gallery of it cannot be compacted"
            )
        with self._lock:
            chosen = self.species if labels is None else self.choose(labels)
            photos = sum(len(s.photos) for s in chosen.values())
            changed = {name: compacted(self.network, s) for name, s in chosen.items() if s.photos}
            if changed:
                self._swap({**self.species, **changed}, f"compacted {len(changed)} species")
            return photos

    def calibrate(self, calibration: Mapping[str, Any] | None) -> None:
        """Keep a calibration with the species; None drops it.

        Args:
            calibration: A JSON object, kept as it is.

        Raises:
            GalleryError: It cannot be written as JSON.
        """
        try:
            kept = None if calibration is None else json.loads(json.dumps(dict(calibration), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise GalleryError(f"the calibration is no JSON object: {error}") from error
        with self._lock:
            if kept != self.calibration:
                self._swap(self.species, _calibrating(kept), calibration=kept)

    def update(self, change: Callable[[State], State]) -> None:
        """Replace the state by one made of it, while no other thread changes it.

        Args:
            change: Gives the new state, of a later generation, for the present one; or that one itself.
        """
        with self._lock:
            self._put(change(self._state))

    _KEEP: Mapping[str, Any] = MappingProxyType({})

    def _swap(
        self,
        species: Mapping[str, Species],
        what: str,
        label: str | None = None,
        calibration: Mapping[str, Any] | None = _KEEP,
    ) -> None:
        old = self._state
        kept = old.calibration if calibration is self._KEEP else calibration
        # An unchanged mapping stays the same object: who classifies tells by it that nothing is to be solved.
        ordered = species if species is old.species else in_order(species)
        self._put(following(old, ordered, kept, what, label))

    def _put(self, state: State) -> None:
        # Of this thread also where another one made the change before it: it waits for what it asked for.
        self._state, self._here.generation = state, state.generation

    def _find(self, label: str) -> Species:
        return find_species(self.species, label)


def check_network(own: Network, other: Network, what: str) -> None:
    """Refuse statistics of another network.

    Raises:
        GalleryError: The fingerprints differ.
    """
    if own.fingerprint != other.fingerprint:
        raise GalleryError(
            f"{what} was enrolled with other weights or preprocessing ({other.backbone} {other.head}, "
            f"fingerprint {other.fingerprint[:12]}) than this bundle's ({own.backbone} {own.head}, "
            f"{own.fingerprint[:12]}): "
            "use the bundle it was made with, or enroll the photos again"
        )
    if array_shapes(own) != array_shapes(other):
        raise GalleryError(f"{what} keeps other statistics than this bundle makes: enroll the photos again")


def find_species(species: Mapping[str, Species], label: str) -> Species:
    """The species of a label, however its letters are encoded.

    Raises:
        GalleryError: There is none; the message asks after those that are spelt alike.
    """
    name = normalised(label)
    if name not in species:
        meant = did_you_mean(name, species)
        raise GalleryError(f"no species {name!r} in the gallery: {meant}{_known(species)}")
    return species[name]


def _known(species: Mapping[str, Species]) -> str:
    if not species:
        return "it is empty"
    names = ", ".join(list(species)[:8])
    return f"it has {names}" + (f" and {len(species) - 8} more" if len(species) > 8 else "")


def _calibrating(kept: Mapping[str, Any] | None) -> str:
    """What setting a calibration is called in the history."""
    if kept is None:
        return "dropped the calibration"
    return f"calibrated at a rate of {kept['far']:g}" if isinstance(kept.get("far"), float) else "calibrated"
