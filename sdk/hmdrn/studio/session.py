"""The one state of a studio, which all its visitors see, and the changes that they can make.

Every change goes through the functions of the commands, is written to the gallery's file at once, merged with
other processes' changes, and can be undone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hmdrn.forecasting import forecast
from hmdrn.open_set import calibrate_threshold
from hmdrn.studio.enrollment import EnrollmentBatch, enroll_species, list_photos
from hmdrn.studio.jobs import Jobs
from hmdrn.studio.rates import RateCosts
from hmdrn.studio.undo import UndoStep
from hmdrn.visits.changes import VisitChange
from hmdrn.visits.corrections import Correction, correct_visits, undo_change
from hmdrn.visits.store import VisitStore
from hmdrn_calibration.open_set.threshold_fit import AcceptanceReport
from hmdrn_runtime.enrollment.correction import PhotoCorrection
from hmdrn_runtime.enrollment.forecast import Forecast
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import EnrollmentError, HmdrnError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.state import GalleryState, MergeReport
from hmdrn_runtime.images.preprocessing import hash_pixels
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.open_set.threshold import false_accept_rate
from hmdrn_runtime.recognizer import Recognizer

_VISITS_VERSION = (
    "SELECT count(*), max(id), (SELECT max(id) FROM changes), (SELECT sum(undone) FROM changes) FROM visits"
)
MAX_UNDO = 50
"""Changes that can be undone; those of earlier runs cannot."""


class StudioSession:
    """A gallery that is shown and changed, by any number of threads.

    Args:
        recognizer: The model with the gallery.
        gallery: The gallery's file; made by the first change if it is missing.
        visits: The diary; None without one.

    Attributes:
        batch: The last enrollment; None before the first.
        jobs: Long work.
        home: The gallery's file at the start; `gallery_path` is that of the present model.
        first_bundle: The bundle at the start.
        threads: CPU threads of models that are opened later; None for all.
        followers: Called with the recognizer of a model that is switched to.
    """

    def __init__(self, recognizer: Recognizer, gallery: Path, visits: VisitStore | None = None) -> None:
        self.recognizer: Recognizer = recognizer
        self.gallery_path: Path = gallery
        self.visits: VisitStore | None = visits
        self.batch: EnrollmentBatch | None = None
        self.jobs: Jobs = Jobs()
        self.home: Path = gallery
        self.first_bundle: Path = recognizer.bundle.path
        self.threads: int | None = None
        self.followers: list[Callable[[Recognizer], None]] = []
        self._lock = threading.RLock()
        self._steps: deque[UndoStep] = deque(maxlen=MAX_UNDO)
        self._forecast: tuple[GalleryState, Forecast | None] | None = None
        self._costs = RateCosts()
        self._changes = 0

    @property
    def gallery(self) -> Gallery:
        """The species."""
        return self.recognizer.gallery

    @property
    def rate(self) -> float | None:
        """False-accept rate of the gallery's calibration; None without one."""
        return false_accept_rate(self.gallery.calibration)

    @property
    def version(self) -> str:
        """Changes with everything that pages show, but the live picture."""
        visits = ""
        if self.visits is not None:
            visits = ".".join(str(value) for value in self.visits.query(_VISITS_VERSION)[0])
        return f"{self.gallery.generation}.{self._changes}.{visits}.{self.jobs.version}"

    @property
    def undoable(self) -> str | None:
        """Description of the change that `undo` takes back; None if there is none."""
        with self._lock:
            return str(self._steps[-1]) if self._steps else None

    def use(self, recognizer: Recognizer, gallery: Path) -> None:
        """Go on with another model and its gallery's file; earlier changes cannot be undone any more."""
        with self._lock:
            recognizer.follow_gallery(gallery, lambda message: None)
            recognizer.refresh()
            self.recognizer, self.gallery_path = recognizer, gallery
            self.batch = self._forecast = None
            self._steps.clear()
            self._changes += 1
            for follow in self.followers:
                follow(recognizer)

    def forecast(self) -> Forecast | None:
        """Return the forecast of the present gallery, computed once for each of its states."""
        with self._lock:
            state = self.gallery.state
            if self._forecast is None or self._forecast[0] is not state:
                self._forecast = (state, forecast(self.recognizer) if len(self.gallery) else None)
            return self._forecast[1]

    def enroll(
        self, species: Mapping[str, Sequence[PreparedPhoto]], problems: Sequence[str] = ()
    ) -> EnrollmentBatch:
        """Enroll photos by species; all of them, or none.

        Raises:
            EnrollmentError: No photo, a bad label, or statistics that cannot be solved.
            GalleryError: The file cannot be written.
        """
        if not species:
            raise EnrollmentError("; ".join(problems) or "no photo was chosen: choose or drop at least one")
        with self._lock:
            before = self.forecast()
            with self._change():
                reports = enroll_species(self.recognizer, species)
            return self._add_batch(reports, species, problems, before)

    def decide(self, number: int, index: int, action: str, label: str = "") -> str:
        """Act on a photo of the last enrollment, and return the decision in words.

        Args:
            number: The enrollment's number.
            index: The photo's, from 0.
            action: "keep", "leave-out" or "move".
            label: The species to move it to.

        Raises:
            HmdrnError: Another enrollment has come, or the photo or action does not exist.
        """
        with self._lock:
            batch = self.batch
            if batch is None or batch.number != number or not 0 <= index < len(batch.photos):
                raise HmdrnError("there is a newer enrollment by now: look at it first")
            enrolled = batch.photos[index]
            if action == "keep":
                decision = "kept"
            elif action == "leave-out":
                decision = "left out"
                with self._change():
                    self.recognizer.forget(enrolled.report.label, enrolled.report.digest)
            elif action == "move":
                decision = f"moved to {self.correct(enrolled.photo, label).label}"
            else:
                raise HmdrnError(f"no action {action!r}: keep, leave-out or move")
            self._changes += 1
            self.batch = batch.decide(index, decision, self.forecast())
            return decision

    def correct(self, photo: PreparedPhoto, label: str) -> PhotoCorrection:
        """Enroll a photo under its right species, and remove it from any other."""
        with self._change():
            return self.recognizer.correct(photo, label)

    def enroll_frames(self, label: str, frames: Sequence[PreparedPhoto]) -> EnrollmentBatch:
        """Enroll the most useful of a live source's last frames.

        Raises:
            EnrollmentError: No frame is sharp and well lit enough, or adds anything.
        """
        with self._lock:
            before = self.forecast()
            by_digest = {hash_pixels(frame.pixels): frame for frame in frames}
            with self._change():
                report = self.recognizer.enroll_stream(label, frames)
            if not report.photos:
                raise EnrollmentError(f"these frames add nothing to {label}: let it move, and try again")
            photos = [by_digest[photo.digest] for photo in report.photos]
            return self._add_batch((report,), {report.label: photos}, (), before)

    def correct_visits(self, ids: Sequence[int], label: str | None) -> Correction:
        """Give visits their right name, and teach the gallery; as `hmdrn.correct_visits`."""
        with self._lock:
            self._changes += 1
            return correct_visits(self.diary, ids, label, self.recognizer, self.gallery_path)

    def undo_correction(self) -> VisitChange:
        """Undo the last correction of visits; as `hmdrn.undo_change`."""
        with self._lock:
            self._changes += 1
            return undo_change(self.diary, self.recognizer, self.gallery_path)

    @property
    def diary(self) -> VisitStore:
        """The visits; raises HmdrnError without a diary."""
        if self.visits is None:
            raise HmdrnError("no diary is open: start the studio with --visits FILE")
        return self.visits

    def rename(self, label: str, new: str, join: bool) -> None:
        """Rename a species; `join` merges it with one of that name."""
        with self._change():
            self.gallery.rename(label, new, join)

    def forget(self, label: str, photo: str | None = None) -> None:
        """Remove a species, or one photo of it by its digest."""
        with self._change():
            self.recognizer.forget(label, photo)

    def merge(self, path: Path) -> MergeReport:
        """Merge a gallery's file, and calibrate anew at the rate that was set."""
        other = load_gallery(path)
        with self._change():
            return self.gallery.merge(other)

    def set_rate(self, rate: float | None) -> None:
        """Calibrate the gallery at a false-accept rate; None drops the calibration."""
        with self._change(keep_rate=False):
            if rate is None:
                self.gallery.calibrate(None)
            else:
                calibrate_threshold(self.recognizer, rate)

    def preview_rate(self, rate: float) -> AcceptanceReport:
        """Measure what a false-accept rate would cost, without setting it."""
        return self._costs.measure(self.recognizer, rate)

    def undo(self) -> str:
        """Take back the last change of this studio, and return its description.

        What others have changed since stays.

        Raises:
            HmdrnError: There is nothing to undo.
        """
        with self._lock:
            what = self.undoable
            if what is None:
                raise HmdrnError("nothing to undo: this studio has changed nothing since it was started")
            step = self._steps[-1]
            with self._change(keep_rate=False):
                self.gallery.update(step.revert)
                self.recognizer.refresh()
            self._steps.pop()  # the undoing itself
            self._steps.pop()
            self.batch = None
            return what

    def _add_batch(
        self,
        reports: tuple[EnrollmentReport, ...],
        species: Mapping[str, Sequence[PreparedPhoto]],
        problems: Sequence[str],
        before: Forecast | None,
    ) -> EnrollmentBatch:
        number = 1 if self.batch is None else self.batch.number + 1
        photos = list_photos(reports, species)
        self.batch = EnrollmentBatch(number, reports, photos, tuple(problems), before, self.forecast())
        return self.batch

    @contextmanager
    def _change(self, keep_rate: bool = True) -> Iterator[None]:
        """Write the change that the block makes, or take it back if that fails.

        A calibrated gallery is calibrated anew; with `keep_rate` also one that lost its calibration.
        """
        with self._lock:
            before, old_rate = self.gallery.state, self.rate

            def recalibrate() -> None:
                rate = self.rate or (old_rate if keep_rate else None)
                if rate is not None and len(self.gallery) and self.recognizer.background is not None:
                    calibrate_threshold(self.recognizer, rate)

            try:
                yield
                changed = self.gallery.state
                if changed is before:
                    return
                self.recognizer.save_gallery(self.gallery_path, recalibrate)
            except BaseException:
                self.gallery.update(lambda now: before)
                raise
            self._changes += 1
            self._steps.append(UndoStep(before, self.gallery.state, changed.history[-1]))
