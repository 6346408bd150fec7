"""The one state of a studio, which all its visitors see: gallery, enrollments, diary and long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from hmdrn.studio.enrollment import EnrollmentBatch, TrialGallery, enroll_species, list_photos
from hmdrn.studio.gallery_editor import GalleryEditor
from hmdrn.studio.jobs import Jobs
from hmdrn.visits.changes import VisitChange, relabel_visits
from hmdrn.visits.corrections import Correction, correct_visits, read_photos, rename_visits, undo_change
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.enrollment.forecast import Forecast
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import EnrollmentError, HmdrnError
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.images.preprocessing import hash_pixels
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.progress import ProgressCallback, ignore_progress
from hmdrn_runtime.recognizer import Recognizer

_VISITS_VERSION = (
    "SELECT count(*), max(id), (SELECT max(id) FROM changes), (SELECT sum(undone) FROM changes), "
    "(SELECT count(*) FROM clips) FROM visits"
)
Enrolled: TypeAlias = tuple[Sequence[EnrollmentReport], Mapping[str, Sequence[PreparedPhoto]]]
"""Reports on species, and their photos by label."""


class StudioSession(GalleryEditor):
    """A gallery with all that belongs to it, for any number of threads.

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
        patience: Seconds that a request waits for the end of its job, before it shows the progress.
        followers: Called with the recognizer of a model that is switched to.
    """

    recognizer: Recognizer
    gallery_path: Path

    def __init__(self, recognizer: Recognizer, gallery: Path, visits: VisitStore | None = None) -> None:
        super().__init__(recognizer, gallery)
        self.visits: VisitStore | None = visits
        self.batch: EnrollmentBatch | None = None
        self.jobs: Jobs = Jobs()
        self.home: Path = gallery
        self.first_bundle: Path = recognizer.bundle.path
        self.threads: int | None = None
        self.patience: float = 2.5
        self.followers: list[Callable[[Recognizer], None]] = []
        self._trial = TrialGallery()

    @property
    def version(self) -> str:
        """Changes with everything that pages show, but the live picture."""
        visits = ""
        if self.visits is not None:
            visits = ".".join(str(value) for value in self.visits.query(_VISITS_VERSION)[0])
        return f"{self.gallery.generation}.{self._changes}.{visits}.{self.jobs.version}"

    def use(self, recognizer: Recognizer, gallery: Path) -> None:
        """Go on with another model and its gallery's file; earlier changes cannot be undone any more."""
        with self._lock:
            recognizer.follow_gallery(gallery, lambda message: None)
            recognizer.refresh()
            self.recognizer, self.gallery_path = recognizer, gallery
            self.batch = self._forecast = None
            self._trial = TrialGallery()
            self._steps.clear()
            self._changes += 1
            for follow in self.followers:
                follow(recognizer)

    def enroll(
        self,
        species: Mapping[str, Sequence[PreparedPhoto]],
        problems: Sequence[str] = (),
        report: ProgressCallback = ignore_progress,
    ) -> EnrollmentBatch:
        """Enroll photos by species; all of them, or none.

        Args:
            species: The photos by label.
            problems: A line for each file that could not be used.
            report: Called with the progress; what it raises ends the work, and nothing is enrolled.

        Raises:
            EnrollmentError: No photo, a bad label, or statistics that cannot be solved.
            GalleryError: The file cannot be written.
        """
        if not species:
            raise EnrollmentError("; ".join(problems) or "no photo was chosen: choose or drop at least one")
        return self._enroll(lambda trial: (enroll_species(trial, species, report), species), problems, report)

    def enroll_frames(
        self, label: str, frames: Sequence[PreparedPhoto], report: ProgressCallback = ignore_progress
    ) -> EnrollmentBatch:
        """Enroll the most useful of a live source's last frames; `report` as for `enroll`.

        Raises:
            EnrollmentError: No frame is sharp and well lit enough, or adds anything.
        """
        by_digest = {hash_pixels(frame.pixels): frame for frame in frames}

        def choose(trial: Recognizer) -> Enrolled:
            enrolled = trial.enroll_stream(label, _count(frames, report))
            if not enrolled.photos:
                raise EnrollmentError(f"these frames add nothing to {label}: let it move, and try again")
            return [enrolled], {enrolled.label: [by_digest[photo.digest] for photo in enrolled.photos]}

        return self._enroll(choose, (), report)

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
                self.forget(enrolled.report.label, enrolled.report.digest)
            elif action == "move":
                decision = f"moved to {self.correct(enrolled.photo, label).label}"
            else:
                raise HmdrnError(f"no action {action!r}: keep, leave-out or move")
            self._changes += 1
            self.batch = batch.decide(index, decision, self.forecast())
            return decision

    def rename_species(self, label: str, new: str, join: bool) -> int:
        """Rename a species as `rename` does, and its visits in the diary; return the number of these."""
        with self._lock:
            self.rename(label, new, join)
            return 0 if self.visits is None else relabel_visits(self.visits, label, clean_label(new))

    def undo(self) -> str:
        """As `GalleryEditor.undo`; the last enrollment is not shown any more."""
        with self._lock:
            what = super().undo()
            self.batch = None
            return what

    @property
    def diary(self) -> VisitStore:
        """The visits; raises HmdrnError without a diary."""
        if self.visits is None:
            raise HmdrnError("no diary is open: start the studio with --visits FILE")
        return self.visits

    def correct_visits(
        self, ids: Sequence[int], label: str | None, report: ProgressCallback = ignore_progress
    ) -> Correction:
        """Give visits their right name, and teach the gallery; as `hmdrn.correct_visits`."""
        with self._lock:
            self._changes += 1
            return correct_visits(self.diary, ids, label, self.recognizer, self.gallery_path, report)

    def enroll_visits(
        self, ids: Sequence[int], label: str, report: ProgressCallback = ignore_progress
    ) -> EnrollmentBatch:
        """Give visits their right name, and show how their pictures were enrolled; `report` as for `enroll`.

        Raises:
            HmdrnError: As `hmdrn.correct_visits`; or no picture of the visits is kept.
        """
        before = self.forecast()
        with self._lock:
            correction = self.correct_visits(ids, label, report)
            if correction.enrollment is None:
                raise HmdrnError(f"no picture of these visits is kept: they are named {label}, none enrolled")
            photos = [
                photo
                for visit in correction.visits
                for photo in read_photos(self.diary, visit, self.recognizer)
            ]
            return self._show([correction.enrollment], {correction.enrollment.label: photos}, (), before)

    def rename_visits(self, report: ProgressCallback = ignore_progress) -> int:
        """Name visits anew, as `hmdrn.rename_visits`, and return how many have changed."""
        return len(rename_visits(self.diary, self.recognizer, report=report))

    def undo_correction(self) -> VisitChange:
        """Undo the last correction of visits; as `hmdrn.undo_change`."""
        with self._lock:
            self._changes += 1
            self.batch = None
            return undo_change(self.diary, self.recognizer, self.gallery_path)

    def _enroll(
        self, attempt: Callable[[Recognizer], Enrolled], problems: Sequence[str], report: ProgressCallback
    ) -> EnrollmentBatch:
        """Enroll into a copy of the gallery, and take that over once all is done."""
        report("forecasting", 0, 0)
        recognizer, before = self.recognizer, self.forecast()
        with self._trial.open(recognizer, self.gallery_path) as trial:
            state = trial.gallery.state
            reports, species = attempt(trial)
            enrolled = trial.gallery.state
        report("writing the gallery", 0, 0)
        with self._lock:
            self.apply(recognizer, state, enrolled)
            return self._show(reports, species, problems, before)

    def _show(
        self,
        reports: Sequence[EnrollmentReport],
        species: Mapping[str, Sequence[PreparedPhoto]],
        problems: Sequence[str],
        before: Forecast | None,
    ) -> EnrollmentBatch:
        number = 1 if self.batch is None else self.batch.number + 1
        photos = list_photos(reports, species)
        self.batch = EnrollmentBatch(number, tuple(reports), photos, tuple(problems), before, self.forecast())
        return self.batch


def _count(frames: Sequence[PreparedPhoto], report: ProgressCallback) -> Iterator[PreparedPhoto]:
    for number, frame in enumerate(frames):
        report("choosing frames", number, len(frames))
        yield frame
