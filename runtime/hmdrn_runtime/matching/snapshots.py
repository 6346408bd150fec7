"""The species of a gallery where the graphs run: one generation answers while the next one is solved."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.gallery import Gallery, State
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.reverse_index import Register
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.gallery.state import added
from hmdrn_runtime.matching.base import Matcher, Operands
from hmdrn_runtime.open_set.background import Background, open_background
from hmdrn_runtime.open_set.threshold import Calibration, applied


@dataclass(frozen=True)
class Generation:
    """The species of one moment where the graphs run. Swapped as a whole, never changed.

    Attributes:
        species: Of the gallery at that moment.
        labels: The species' names, in the operands' order.
        operands: What they are matched by.
        number: The gallery's generation at that moment.
        kept: The gallery's calibration as it is kept.
        calibration: The same as it is applied; then the operands end with the background species.
    """

    species: Mapping[str, Species]
    labels: tuple[str, ...]
    operands: Operands
    number: int = -1
    kept: Mapping[str, Any] | None = None
    calibration: Calibration | None = None

    def of(self, state: State) -> bool:
        """Whether it is that of a state of the gallery."""
        # A change of the gallery is a new mapping: identity tells, and costs a frame nothing.
        return self.species is state.species and self.kept is state.calibration


@dataclass(frozen=True)
class Addition:
    """What came of adding photos to a species.

    Attributes:
        before: The gallery's species before.
        after: And with the photos.
        holders: Labels of other species that hold one of the photos.
        lookalikes: Labels that differ from the species' own in case or blanks alone.
    """

    before: Mapping[str, Species]
    after: Mapping[str, Species]
    holders: tuple[str, ...]
    lookalikes: tuple[str, ...]


@dataclass(frozen=True)
class _Solving:
    """A generation that is solved in a thread of its own, for all who do not wait for it."""

    state: State
    done: Future[None]


class Generations:
    """Keeps a gallery's species solved.

    A thread that has changed the gallery itself sees its change at its next call, and waits for the solve.
    Other threads get the generation before until the new one is solved, behind them.

    Args:
        gallery: Whose species.
        matcher: Solves them.
        bundle: Whose background species are matched beside those of a calibrated gallery.
    """

    def __init__(self, gallery: Gallery, matcher: Matcher, bundle: Bundle) -> None:
        self.gallery, self.matcher, self._bundle = gallery, matcher, bundle
        self._lock = threading.RLock()
        self._solver = ThreadPoolExecutor(1, "hmdrn-solve")  # starts no thread before it is needed
        self._solving: _Solving | None = None
        self._last = Generation({}, (), {})
        self._register = Register()

    @cached_property
    def background(self) -> Background | None:
        """The species in general that came with the bundle, read when first asked for; None without any."""
        return open_background(self._bundle)

    def current(self) -> Generation:
        """The species to answer by.

        Raises:
            GalleryError: Nothing has been enrolled.
            EnrollmentError: A species that cannot be solved.
        """
        last, state = self._last, self.gallery.snapshot()
        if not last.of(state):
            if not last.labels or last.number < self.gallery.changed_here:
                last = self.refresh()
            else:
                self._solve_behind(state)
                last = self._last
        if not last.labels:
            raise GalleryError("nothing has been enrolled: enroll photos of at least one species first")
        return last

    def refresh(self) -> Generation:
        """The gallery's species as they are now, for all calls from now on; solves what is new.

        Raises:
            EnrollmentError: A species that cannot be solved.
        """
        with self._lock:
            state = self.gallery.snapshot()
            if not self._last.of(state):
                calibration = self._calibration(state.calibration)
                species = list(state.species.values())
                operands = self._operands(species, calibration) if species else {}
                self._last = _generation(state, operands, calibration)
            return self._last

    def add(self, label: str, photos: Sequence[PhotoStatistics]) -> Addition:
        """Add photos to a species of the gallery, and solve it; all of that, or nothing.

        Raises:
            EnrollmentError: A bad label, no photo, or statistics that cannot be solved.
        """
        with self._lock:
            before = self.gallery.snapshot()
            planned = added(before, label, photos)
            # Solved and placed before the gallery changes: what cannot be solved changes nothing.
            calibration = self._calibration(planned.calibration)
            operands = self._operands(list(planned.species.values()), calibration)
            # Another thread may have changed it meanwhile: then the next call solves what came of both.
            self.gallery.update(lambda now: planned if now is before else added(now, label, photos))
            if self.gallery.snapshot() is planned:
                self._last = _generation(planned, operands, calibration)
            return self._registered(before.species, planned.species, label, photos)

    def forget(self, label: str, photo: str | None = None) -> None:
        """Remove a species, or one photo of it, and solve what is left; as `Gallery.forget`."""
        with self._lock:
            self.gallery.forget(label, photo)
            # Another species that cannot be solved is the next classification's to name.
            with contextlib.suppress(EnrollmentError):
                self.refresh()

    def _registered(
        self,
        before: Mapping[str, Species],
        after: Mapping[str, Species],
        label: str,
        photos: Sequence[PhotoStatistics],
    ) -> Addition:
        register = self._register
        register.follow(before)
        holders = register.holders(label, (photo.digest for photo in photos))
        if after is not before:
            register.follow_one(after, label)
        return Addition(before, after, holders, register.lookalikes(label))

    def _solve_behind(self, state: State) -> None:
        """Have a state solved, for the calls to come.

        Raises:
            EnrollmentError: That was done, and a species cannot be solved.
        """
        solving = self._solving
        if solving is None or solving.state is not state:
            self._solving = _Solving(state, self._solver.submit(self._refresh_behind))
        elif solving.done.done():
            solving.done.result()

    def _refresh_behind(self) -> None:
        self.refresh()

    def _calibration(self, kept: Mapping[str, Any] | None) -> Calibration | None:
        return None if kept is None else applied(kept, self.background)

    def _operands(self, species: Sequence[Species], calibration: Calibration | None) -> Operands:
        further = None if calibration is None or self.background is None else self.background.operators
        return self.matcher.operands(species, further)


def _generation(state: State, operands: Operands, calibration: Calibration | None) -> Generation:
    return Generation(
        state.species, tuple(state.species), operands, state.generation, state.calibration, calibration
    )
