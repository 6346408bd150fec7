"""The enrolled species of a device, stored as statistics of their photos, not as the photos."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from hmdrn_runtime.arguments import check_callable, check_kind, refuse_copy
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.device.forking import repair_after_fork
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.history import MAX_CHANGES, Change
from hmdrn_runtime.gallery.labels import clean_label, normalize_label
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, check_network
from hmdrn_runtime.gallery.species import Species, compact_species, find_photo, find_species, merge_species
from hmdrn_runtime.gallery.state import (
    FileStamp,
    GalleryState,
    MergeReport,
    add_photos,
    next_state,
    sort_species,
)


class Gallery:
    """Species by label. Each change swaps the whole state at once: a reader never sees half of one.

    Args:
        network: The network that computed the statistics.
        species: Initial species by label.
        generation: Number of changes made so far.
        history: The last of those changes.
        calibration: As in `GalleryState`.

    Examples:
        >>> gallery = hmdrn.load_gallery("site7.gallery")
        >>> gallery.forget("Albatros")
        >>> hmdrn.save_gallery(gallery, "site7.gallery")
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
        self._thread = threading.local()
        self._state = GalleryState(
            generation, sort_species(species or {}), history[-MAX_CHANGES:], calibration
        )
        self.files: dict[Path, FileStamp] = {}
        """State and checksum of each file when this gallery last read or wrote it."""
        repair_after_fork(self)

    def after_fork(self) -> None:
        """Replace the lock in a forked process: another thread may have held it."""
        self._lock = threading.Lock()

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "write it with hmdrn.save_gallery, and read the file with hmdrn.load_gallery")

    @property
    def state(self) -> GalleryState:
        """The present state; later changes do not touch it."""
        return self._state

    @property
    def generation(self) -> int:
        """Number of changes; equal generations of one gallery are equal states."""
        return self._state.generation

    @property
    def thread_generation(self) -> int:
        """The generation after the calling thread's last change; -1 if it has made none."""
        return getattr(self._thread, "generation", -1)

    @property
    def species(self) -> Mapping[str, Species]:
        """The species by label, sorted by label; later changes do not touch the mapping."""
        return self._state.species

    @property
    def history(self) -> tuple[Change, ...]:
        """The last changes, oldest first."""
        return self._state.history

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """The argument of `calibrate`; None before it, and after a merge, which makes it invalid."""
        return self._state.calibration

    def __len__(self) -> int:
        return len(self.species)

    def __repr__(self) -> str:
        state = self._state
        shots = sum(s.shots for s in state.species.values())
        photos = f"{shots} photo{'s' * (shots != 1)}"
        return f"<Gallery of {len(state.species)} species, {photos}, generation {state.generation}>"

    def __contains__(self, label: str) -> bool:
        return normalize_label(label) in self.species

    def __iter__(self) -> Iterator[str]:
        return iter(self.species)

    def add(self, label: str, photos: Iterable[PhotoStatistics]) -> int:
        """Add photos to a species, new or known; a photo that it has already counts once.

        Returns:
            Number of photos that were new to it.

        Raises:
            EnrollmentError: A bad label, or no photo at all.
        """
        label = clean_label(label)
        with self._lock:
            before = self.species.get(label)
            self._set_state(add_photos(self._state, label, photos))
            return self.species[label].shots - (before.shots if before else 0)

    def forget(self, label: str, photo: str | None = None) -> None:
        """Remove a species, or one photo of it; removing the last photo removes the species.

        Args:
            label: The species.
            photo: Name of the photo's file, its digest, or a beginning of it; all photos if None.

        Raises:
            GalleryError: No such species or photo, or a photo within the sum of a compacted species.
        """
        with self._lock:
            species = dict(self.species)
            old = find_species(species, label)
            del species[old.label]
            if photo is None:
                self._change(species, "forgot", old.label)
                return
            member = find_photo(old, photo)
            photos = {digest: value for digest, value in old.photos.items() if value is not member}
            if photos or old.sums:
                species[old.label] = Species(old.label, MappingProxyType(photos), old.sums)
            self._change(species, f"forgot photo {member.title}", old.label)

    def rename(self, label: str, new: str, join: bool = False) -> None:
        """Give a species another name.

        Args:
            label: The species.
            new: Its new label.
            join: Merge it with a species that has the new label already.

        Raises:
            GalleryError: No such species; or the new label is in use, and `join` false.
            EnrollmentError: A bad new label.
        """
        new = clean_label(new)
        with self._lock:
            old = find_species(self.species, label)
            if new == old.label:
                return
            if new in self.species and not join:
                raise GalleryError(
                    f"there is a species {new!r} already: choose another label, or join the two "
                    "(join=True, --join)"
                )
            renamed = merge_species(self.species.get(new), Species(new, old.photos, old.sums))
            species = {**self.species, new: renamed}
            del species[old.label]
            self._change(species, f"renamed from {old.label!r}", new)

    def merge(self, other: Gallery, only: Iterable[str] | None = None) -> MergeReport:
        """Merge another device's gallery into this one: an exact union by photo, in any order.

        Species of one label become one species, with the photos of both. A change drops the calibration,
        which was fitted to other species.

        Args:
            other: The other gallery, which stays as it is.
            only: Labels of the species to merge; all if None.

        Raises:
            GalleryError: The other gallery is of another network, has no such label, or is not a gallery at
                all; or a species was compacted on both sides with some of the same photos.
        """
        check_kind(other, Gallery, "other", "read a file with hmdrn.load_gallery first", GalleryError)
        check_network(self.network, other.network, "the other gallery")
        incoming = other.species if only is None else other.select(only)
        with self._lock:
            before, merged = self.species, dict(self.species)
            for label, species in incoming.items():
                merged[label] = merge_species(merged.get(label), species)
            added = tuple(label for label in incoming if label not in before)
            extended = {
                label: merged[label].shots - before[label].shots
                for label in incoming
                if label in before and merged[label].shots > before[label].shots
            }
            if any(merged[label] != before.get(label) for label in incoming):
                self._change(merged, f"merged {len(incoming)} species", None, calibration=None)
            return MergeReport(added, MappingProxyType(extended))

    def select(self, labels: Iterable[str]) -> dict[str, Species]:
        """Return the species of these labels.

        Raises:
            GalleryError: A label is not in the gallery.
        """
        check_kind(labels, Iterable, "labels", "pass a list of species' labels", GalleryError)
        if isinstance(labels, str | bytes):
            raise GalleryError(f"labels is {labels!r}: pass a list, [{labels!r}]")
        species = self.species
        return {s.label: s for s in (find_species(species, label) for label in labels)}

    def compact(self, labels: Iterable[str] | None = None) -> int:
        """Replace the photos of each species by one sum; classification stays the same, bit for bit.

        Lost for good: forgetting a single photo, comparing a photo with the others of its species,
        thumbnails, and merging with a gallery that shares some, not all, of the photos in a compacted form.

        Args:
            labels: The species; all if None.

        Returns:
            Number of photos that became part of sums.

        Raises:
            GalleryError: No such species, or a network that needs every photo's own statistics.
        """
        if self.network.head != "ridge":
            raise GalleryError(
                f"the head {self.network.head!r} classifies with every photo's own statistics: "
                "a gallery of it cannot be compacted"
            )
        with self._lock:
            selected = self.species if labels is None else self.select(labels)
            photos = sum(len(s.photos) for s in selected.values())
            changed = {name: compact_species(self.network, s) for name, s in selected.items() if s.photos}
            if changed:
                self._change({**self.species, **changed}, f"compacted {len(changed)} species")
            return photos

    def calibrate(self, calibration: Mapping[str, Any] | None) -> None:
        """Store a calibration with the species; None drops it.

        Args:
            calibration: A JSON object, stored as it is.

        Raises:
            GalleryError: It cannot be written as JSON.
        """
        what, stored = "dropped the calibration", None
        if calibration is not None:
            try:
                stored = json.loads(json.dumps(dict(calibration), allow_nan=False))
            except (TypeError, ValueError) as error:
                raise GalleryError(f"the calibration is not a JSON object: {error}") from error
            far = stored.get("far")
            what = f"calibrated at a rate of {far:g}" if isinstance(far, float) else "calibrated"
        with self._lock:
            if stored != self.calibration:
                self._change(self.species, what, calibration=stored)

    def update(self, change: Callable[[GalleryState], GalleryState]) -> None:
        """Replace the state by a function of it, while no other thread changes it.

        Args:
            change: Returns a state of a later generation, or the present one itself.
        """
        check_callable(change, "change", "pass a function of a state", GalleryError)
        with self._lock:
            self._set_state(change(self._state))

    _UNCHANGED: Mapping[str, Any] = MappingProxyType({})

    def _change(
        self,
        species: Mapping[str, Species],
        what: str,
        label: str | None = None,
        calibration: Mapping[str, Any] | None = _UNCHANGED,
    ) -> None:
        old = self._state
        calibration = old.calibration if calibration is self._UNCHANGED else calibration
        # An unchanged mapping stays the same object: its identity shows that nothing changed.
        ordered = species if species is old.species else sort_species(species)
        self._set_state(next_state(old, ordered, calibration, what, label))

    def _set_state(self, state: GalleryState) -> None:
        # Counts as this thread's change even if nothing changed: the thread waits for the state it asked for.
        self._state, self._thread.generation = state, state.generation
