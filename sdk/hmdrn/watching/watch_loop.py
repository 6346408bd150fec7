"""The loop over a source's frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hmdrn.watching.detector_input import BoxesEndError, DetectorInput
from hmdrn.watching.frame_classifier import ClassifierProtocol, FrameClassifier
from hmdrn.watching.frames import Detector, Frame
from hmdrn.watching.reconnecting_source import ReconnectingSource
from hmdrn.watching.region_detector import RegionDetector
from hmdrn.watching.results import SourceEvent, SourceState, WatchResult
from hmdrn.watching.seen_photos import SeenPhotos
from hmdrn.watching.settings import WatchSettings
from hmdrn.watching.sources import Source
from hmdrn.watching.status import LoopMonitor, WatchStatus, read_memory
from hmdrn.watching.summary import WatchSummary
from hmdrn_runtime.credentials import mask_secrets
from hmdrn_runtime.errors import HmdrnError, ImageError, SourceError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.recognizer import Recognizer

_POLL_SECONDS = 0.05
"""Seconds of waiting after which a stop is noticed."""


class Watch:
    """The results of watching a source; iterate over it, once. `watch` makes one.

    Attributes:
        source: The source.
        summary: Summary of the frames so far.
        rate: Frames a second, as the source reports it; 0 until the first frame.
        on_pause: Called by the loop, 20 times a second, while no frame comes; None for nothing.

    Examples:
        >>> watching = hmdrn.watch("default", "film.mp4", gallery="site7.gallery")
        >>> for result in watching:
        ...     if result.frame.index == 5:
        ...         watching.stop()
        >>> watching.summary.classified
        6
    """

    def __init__(self, classifier: ClassifierProtocol, source: Source, settings: WatchSettings) -> None:
        self.source = source
        self.summary: WatchSummary = WatchSummary()
        self.rate: float = 0.0
        self.on_pause: Callable[[], None] | None = None
        self._classifier, self._settings = classifier, settings
        self._stopped = threading.Event()
        self._start: float | None = None
        """Start of iterating, on the monotonic clock."""
        self._monitor = LoopMonitor(time.monotonic())
        self._frames: ReconnectingSource | None = None
        self._bad_photos: set[str] = set()

    def stop(self) -> None:
        """End watching after the current frame; from any thread or signal handler."""
        self._stopped.set()

    def look_at(self, region: Box | None, detector: Detector | None) -> None:
        """Go on with another region and detector from the next frame on; from any thread.

        The subjects so far count as gone.

        Args:
            region: x0, y0, x1, y1 in pixels; None for the whole frame.
            detector: Finds the subjects, within the region if there is one; None to classify the region.
        """
        if region is not None and detector is not None:
            detector, region = RegionDetector(detector, region), None
        self._settings = replace(self._settings, region=region, boxes=detector)

    def status(self) -> WatchStatus:
        """Return the present state, without a diary; from any thread."""
        now, source, summary, classifier = time.monotonic(), self._frames, self.summary, self._classifier
        last = None if source is None else source.last_frame_time
        loop_age, rate = self._monitor.measure(now)
        return WatchStatus(
            self.source.name,
            self._seconds(),
            summary.read,
            summary.classified,
            summary.dropped,
            summary.reconnects,
            rate,
            frame_age=None if last is None else max(0.0, now - last),
            loop_age=loop_age,
            interval=1 / self.rate if self.rate else 0.0,
            waits=self.source.seen_file is not None,
            is_lost=source is not None and source.is_lost,
            generation=classifier.gallery.generation if isinstance(classifier, Recognizer) else None,
            memory=read_memory(),
        )

    def report_gallery(self, message: str) -> None:
        """Report that the gallery's file cannot be used; for `Recognizer.follow_gallery`."""
        self._report("gallery", message)

    def __iter__(self) -> Iterator[WatchResult]:
        """Yield the results as they come.

        Raises:
            HmdrnError: As `watch`; or the watch was iterated over before.
        """
        if self._start is not None:
            raise HmdrnError("this watch was iterated over already: make another with hmdrn.watch(...)")
        self._start = time.monotonic()
        settings, summary = self._settings, self.summary
        detector = self._open_detector()
        classifier = FrameClassifier(
            self._classifier,
            settings.region,
            detector,
            settings.smoothing,
            lambda message: self._report("unreadable", message),
            lambda message: self._report("region", message),
        )
        source = ReconnectingSource(
            self.source, settings.every_frame, settings.loop, settings.stall_after, self._report
        )
        self._frames = source
        seen = self._open_seen()
        try:
            while not (source.ended or self._is_over()):
                frame = source.take(_POLL_SECONDS)
                result = None
                if frame is None:
                    if self.on_pause is not None:
                        self.on_pause()
                else:
                    self.rate = source.rate
                    if self._settings is not settings:
                        settings = self._settings
                        detector = self._open_detector()
                        classifier.look_at(settings.region, detector)
                    result = self._classify(classifier, frame)
                self._update_counts(source, detector)
                if result is not None:
                    summary.add(result)
                    yield result
                if frame is not None and seen is not None:
                    seen.add(Path(str(frame.file)))
        except BoxesEndError:
            summary.skipped += 1
            self._report("boxes", "the boxes have ended")
        finally:
            source.close()
            if seen is not None:
                seen.close()
            self._update_counts(source, detector)

    def _seconds(self) -> float:
        return 0.0 if self._start is None else time.monotonic() - self._start

    def _is_over(self) -> bool:
        max_frames, max_seconds = self._settings.max_frames, self._settings.max_seconds
        return (
            self._stopped.is_set()
            or (max_frames is not None and self.summary.classified >= max_frames)
            or (max_seconds is not None and self._seconds() >= max_seconds)
        )

    def _open_seen(self) -> SeenPhotos | None:
        path, folder = self.source.seen_file, self.source.path
        return SeenPhotos(path, folder) if path is not None and folder is not None else None

    def _open_detector(self) -> Detector | None:
        boxes = self._settings.boxes
        if not isinstance(boxes, int | Path):
            return boxes
        in_order = self._settings.every_frame and not self.source.live
        return DetectorInput(boxes, in_order, lambda problem: self._report("boxes", problem), self._is_over)

    def _classify(self, classifier: FrameClassifier, frame: Frame) -> WatchResult | None:
        try:
            result = classifier.classify(frame)
        except ImageError as error:
            # A region that does not fit the camera's image is a mistake in the call.
            if self._settings.region is not None and not self.summary.classified:
                raise
            self.summary.unreadable += 1
            self._report_bad_frame(frame, error)
            return None
        self.summary.skipped += result is None or result.skipped
        return result

    def _update_counts(self, source: ReconnectingSource, detector: Detector | None) -> None:
        summary = self.summary
        summary.read, summary.dropped, summary.reconnects = source.read, source.dropped, source.reconnects
        if isinstance(detector, DetectorInput):
            summary.bad_lines, summary.unused_lines = detector.bad, detector.unused
        summary.seconds = self._seconds()
        self._monitor.step(time.monotonic(), summary.classified)

    def _report_bad_frame(self, frame: Frame, error: ImageError) -> None:
        """Report a frame that cannot be used; a photo once, however often a loop comes back to it."""
        if frame.file is None or frame.file not in self._bad_photos:
            self._report("unreadable", str(error))
        elif not (self.summary.classified or self.summary.skipped):
            raise SourceError(f"{self.source.name} has no photo that can be read: look at the lines above")
        if frame.file is not None:
            self._bad_photos.add(frame.file)

    def _report(self, state: SourceState, message: str) -> None:
        if self._settings.on_event is not None:
            self._settings.on_event(SourceEvent(state, mask_secrets(message), time.time()))
