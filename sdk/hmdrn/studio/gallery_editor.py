"""Changes of a gallery that are written at once, and can be undone.

Every change goes through the functions of the commands, is written to the gallery's file at once, and merged
with other processes' changes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hmdrn.forecasting import forecast
from hmdrn.open_set import calibrate_threshold, recalibrate_threshold
from hmdrn.studio.rates import RateCosts
from hmdrn.studio.undo import UndoStep
from hmdrn_calibration.open_set.threshold_fit import AcceptanceReport
from hmdrn_runtime.enrollment.correction import PhotoCorrection
from hmdrn_runtime.enrollment.forecast import Forecast
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.history import Change
from hmdrn_runtime.gallery.state import GalleryState, MergeReport
from hmdrn_runtime.gallery.three_way_merge import merge_states
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.open_set.threshold import false_accept_rate
from hmdrn_runtime.recognizer import Recognizer

MAX_UNDO = 50
"""Changes that can be undone; those of earlier runs cannot."""


class GalleryEditor:
    """A gallery that is shown and changed, by any number of threads.

    Args:
        recognizer: The model with the gallery.
        gallery: The gallery's file; made by the first change if it is missing.
    """

    def __init__(self, recognizer: Recognizer, gallery: Path) -> None:
        self.recognizer: Recognizer = recognizer
        self.gallery_path: Path = gallery
        self._lock = threading.RLock()
        self._forecasting = threading.Lock()  # apart, so that no page waits for a change
        self._forecast: tuple[GalleryState, Forecast | None] | None = None
        self._steps: deque[UndoStep] = deque(maxlen=MAX_UNDO)
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
    def undoable(self) -> str | None:
        """Description of the change that `undo` takes back; None if there is none."""
        steps = list(self._steps)
        return str(steps[-1]) if steps else None

    def forecast(self) -> Forecast | None:
        """Return the forecast of the present gallery, computed once for each of its states."""
        with self._forecasting:
            state = self.gallery.state
            if self._forecast is None or self._forecast[0] is not state:
                self._forecast = (state, forecast(self.recognizer) if len(self.gallery) else None)
            return self._forecast[1]

    def apply(self, recognizer: Recognizer, before: GalleryState, after: GalleryState) -> None:
        """Take over a state that was made of an earlier one; what has changed meanwhile stays.

        Args:
            recognizer: The model by which it was made.
            before: The gallery's state that it was made of.
            after: The new state.

        Raises:
            HmdrnError: The model was switched meanwhile.
            GalleryError: The file cannot be written.
        """
        with self._change(change=after.history[-1] if after.history else None):
            if recognizer is not self.recognizer:
                raise HmdrnError("the model was switched meanwhile, and nothing was enrolled: do it again")
            self.gallery.update(lambda now: after if now is before else merge_states(before, now, after))
            self.recognizer.refresh()

    def correct(self, photo: PreparedPhoto, label: str) -> PhotoCorrection:
        """Enroll a photo under its right species, and remove it from any other."""
        with self._change():
            return self.recognizer.correct(photo, label)

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
            return what

    @contextmanager
    def _change(self, keep_rate: bool = True, change: Change | None = None) -> Iterator[None]:
        """Write the change that the block makes, or take it back if that fails.

        A calibrated gallery is calibrated anew; with `keep_rate` also one that lost its calibration. `change`
        describes it; the last one in the gallery's history if None.
        """
        with self._lock:
            before = self.gallery.state
            path, files = self.gallery_path.resolve(), self.gallery.files
            stamp = files.get(path)

            def recalibrate() -> None:
                recalibrate_threshold(self.recognizer, before=before.calibration if keep_rate else None)

            try:
                yield
                changed = self.gallery.state
                if changed is before:
                    return
                self.recognizer.save_gallery(self.gallery_path, recalibrate)
            except BaseException:
                self.gallery.update(lambda now: before)
                if stamp is not None:  # what was taken over from the file meanwhile comes with the next write
                    files[path] = stamp
                raise
            self._changes += 1
            # Not the file's state, which has what other processes have changed: undoing must leave that.
            after = replace(changed, calibration=self.gallery.calibration)
            self._steps.append(UndoStep(before, after, change or changed.history[-1]))
