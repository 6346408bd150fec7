"""Solved snapshots of a gallery: one answers while the next is being solved."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.device.forking import repair_after_fork
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.follower import GalleryFollower
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.reverse_index import PhotoLabelIndex
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.gallery.state import FileStamp, GalleryState, add_photos, annotate_photos, correct_photo
from hmdrn_runtime.gallery.three_way_merge import merge_states
from hmdrn_runtime.matching.base import Matcher, Operands
from hmdrn_runtime.open_set.background import Background, open_background
from hmdrn_runtime.open_set.threshold import Calibration, active_calibration


@dataclass(frozen=True)
class Snapshot:
    """A state of the gallery, solved and placed where the graphs run.

    Attributes:
        state: The gallery's state.
        operands: Its species in the state's order, with a calibration followed by the background species.
        calibration: The state's calibration; None if it has none, or is of another background.
    """

    state: GalleryState
    operands: Operands
    calibration: Calibration | None = None

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The species' names, in the operands' order."""
        return tuple(self.state.species)


@dataclass(frozen=True)
class Addition:
    """Result of adding photos to a species.

    Attributes:
        before: The gallery's species before.
        after: The gallery's species with the photos.
        holders: Labels of other species that hold one of the photos.
        lookalikes: Labels that look like the species' own.
    """

    before: Mapping[str, Species]
    after: Mapping[str, Species]
    holders: tuple[str, ...]
    lookalikes: tuple[str, ...]


@dataclass(frozen=True)
class _Solving:
    """A state that is being solved in a background thread."""

    state: GalleryState
    done: Future[None]


class SolvedGallery:
    """Keeps a gallery's species solved.

    A thread that has changed the gallery sees its change at its next call, and waits for the solve. Other
    threads get the previous snapshot until the new one is solved in the background.

    Args:
        gallery: The gallery.
        matcher: Solves its species.
        bundle: Has the background species, which are matched with those of a calibrated gallery.
    """

    matcher: Matcher

    gallery: Gallery

    def __init__(self, gallery: Gallery, matcher: Matcher, bundle: Bundle) -> None:
        self.gallery, self.matcher, self._bundle = gallery, matcher, bundle
        self._latest = Snapshot(GalleryState(-1, {}), {})
        self._index = PhotoLabelIndex()
        self._follower: GalleryFollower | None = None
        self.after_fork()
        repair_after_fork(self)

    def after_fork(self) -> None:
        """Make the lock and the solver, anew in a forked process."""
        self._lock = threading.RLock()
        self._solver = ThreadPoolExecutor(1, "hmdrn-solve")  # starts its thread when first needed
        self._solving: _Solving | None = None

    @cached_property
    def background(self) -> Background | None:
        """The bundle's background species, read on first use; None if it has none."""
        return open_background(self._bundle)

    def follow(self, path: str | os.PathLike[str], report: Callable[[str], object]) -> None:
        """Take over what other processes write to the gallery's file; see `GalleryFollower`."""
        self._follower = GalleryFollower(self.gallery, path, self._adopt, report)

    def check_file(self) -> None:
        """Look at the file that is followed, if one is."""
        if self._follower is not None:
            self._follower.check()

    def current(self) -> Snapshot:
        """Return the snapshot to answer with.

        Raises:
            GalleryError: Nothing has been enrolled.
            EnrollmentError: A species that cannot be solved.
        """
        self.check_file()
        latest, state = self._latest, self.gallery.state
        if latest.state is not state:
            if not latest.labels or latest.state.generation < self.gallery.thread_generation:
                latest = self.refresh()
            else:
                self._solve_in_background(state)
                latest = self._latest
        if not latest.labels:
            raise GalleryError("nothing has been enrolled: enroll photos of at least one species first")
        return latest

    def refresh(self) -> Snapshot:
        """Solve the gallery's present state, for all calls from now on.

        Raises:
            EnrollmentError: A species that cannot be solved.
        """
        with self._lock:
            state = self.gallery.state
            if self._latest.state is not state:
                self._latest = self._solve(state)
            return self._latest

    def add(self, label: str, photos: Sequence[PhotoStatistics]) -> Addition:
        """Add photos to a species of the gallery, and solve it; an error changes nothing.

        Raises:
            EnrollmentError: A bad label, no photo, or statistics that cannot be solved.
        """
        with self._lock:
            before, after = self._apply(lambda state: add_photos(state, label, photos))
            self._index.update(before.species)
            holders = self._index.find_holders(label, (photo.digest for photo in photos))
            if after is not before:
                self._index.update_species(after.species, label)
            return Addition(before.species, after.species, holders, self._index.find_lookalikes(label))

    def annotate(self, label: str, verdicts: Mapping[str, str]) -> None:
        """Store verdicts of a species' photos, by digest, which no answer depends on: nothing is solved."""
        with self._lock:
            before = self.gallery.state
            after = annotate_photos(before, label, verdicts)
            self.gallery.update(lambda now: after if now is before else annotate_photos(now, label, verdicts))
            if self.gallery.state is after and self._latest.state is before:
                self._latest = replace(self._latest, state=after)

    def correct(self, label: str, photo: PhotoStatistics) -> tuple[GalleryState, GalleryState]:
        """Add a photo to its right species and remove it from all others; return the states before and after.

        Raises:
            GalleryError: As `correct_photo`.
            EnrollmentError: A bad label, or statistics that cannot be solved.
        """
        with self._lock:
            return self._apply(lambda state: correct_photo(state, label, photo))

    def forget(self, label: str, photo: str | None = None) -> None:
        """Remove a species, or one photo of it, and solve the rest; as `Gallery.forget`."""
        with self._lock:
            self.gallery.forget(label, photo)
            # Another species that cannot be solved is reported by the next classification.
            with contextlib.suppress(EnrollmentError):
                self.refresh()

    def _adopt(self, known: FileStamp | None, theirs: FileStamp) -> None:
        """Merge the state of a file, solved first; an error changes nothing."""
        base = None if known is None else known.state
        with self._lock:
            self._apply(lambda state: merge_states(base, state, theirs.state))

    def _apply(self, change: Callable[[GalleryState], GalleryState]) -> tuple[GalleryState, GalleryState]:
        """Change the gallery once the new state is solved; return the states before and after."""
        before = self.gallery.state
        after = change(before)
        snapshot = self._solve(after)
        # Another thread may have changed the gallery meanwhile: then the next call solves both changes.
        self.gallery.update(lambda now: after if now is before else change(now))
        if self.gallery.state is after:
            self._latest = snapshot
        return before, after

    def _solve(self, state: GalleryState) -> Snapshot:
        calibration = background = None
        if state.calibration is not None:
            calibration = active_calibration(state.calibration, self.background)
        if calibration is not None and self.background is not None:
            background = self.background.operators
        species = list(state.species.values())
        operands = self.matcher.operands(species, background) if species else {}
        return Snapshot(state, operands, calibration)

    def _solve_in_background(self, state: GalleryState) -> None:
        """Solve a state for later calls; raises the EnrollmentError of a solve that has failed."""
        solving = self._solving
        if solving is None or solving.state is not state:
            self._solving = _Solving(state, self._solver.submit(self._refresh))
        elif solving.done.done():
            solving.done.result()

    def _refresh(self) -> None:
        # Returns nothing: a future must not keep a snapshot's operands in memory.
        self.refresh()
