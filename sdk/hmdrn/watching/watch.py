"""The loop over a source's frames, and its settings."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hmdrn.loading import load
from hmdrn.watching.detector_input import BoxesEndError, BoxSource, DetectorInput
from hmdrn.watching.frame_classifier import ClassifierProtocol, FrameClassifier
from hmdrn.watching.frames import Detector, Frame
from hmdrn.watching.reconnecting_source import ReconnectingSource
from hmdrn.watching.region_detector import RegionDetector
from hmdrn.watching.results import SourceEvent, SourceState, WatchResult
from hmdrn.watching.seen_photos import SeenPhotos
from hmdrn.watching.settings import NO_SMOOTHING, WatchSettings
from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.sources import Source, follow_source, parse_source, poll_source
from hmdrn.watching.summary import WatchSummary
from hmdrn_runtime.credentials import mask_secrets
from hmdrn_runtime.errors import HmdrnError, ImageError, SourceError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import expand_path

_POLL_SECONDS = 0.05
"""Seconds of waiting after which a stop is noticed."""


class Watch:
    """The results of watching a source; iterate over it, once. `watch` makes one.

    Attributes:
        source: The source.
        summary: Summary of the frames so far.
        rate: Frames a second, as the source reports it; 0 until the first frame.

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
        self._classifier, self._settings = classifier, settings
        self._stopped = threading.Event()
        self._start: float | None = None
        """Start of iterating, on the monotonic clock."""
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
        seen = self._open_seen()
        try:
            while not (source.ended or self._is_over()):
                frame = source.take(_POLL_SECONDS)
                result = None
                if frame is not None:
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


def watch(
    bundle: str | os.PathLike[str] | ClassifierProtocol,
    source: str | int | os.PathLike[str],
    gallery: str | os.PathLike[str] | None = None,
    *,
    region: Box | None = None,
    boxes: Detector | int | str | os.PathLike[str] | None = None,
    every_frame: bool | None = None,
    loop: bool = False,
    follow: bool | str | os.PathLike[str] = False,
    poll: float | None = None,
    smoothing: Smoothing | None = None,
    stall_after: float = 5.0,
    max_frames: int | None = None,
    max_seconds: float | None = None,
    on_event: Callable[[SourceEvent], None] | None = None,
    follow_gallery: bool = True,
) -> Watch:
    """Classify what a camera, stream or video shows, frame by frame.

        for result in hmdrn.watch("default", 0, gallery="site7.gallery"):
            if result.changed:
                print(result.label)

    Of a live source only the newest frame is classified: meanwhile, newer frames replace older ones and are
    counted as dropped, so that a result is late by one classification at most. A live source that stalls or
    dies is opened again, with growing pauses, for ever; a file ends.

    Args:
        bundle: A bundle's path, "default", or a recognizer.
        source: A camera's number (0), a video, a folder of photos or one photo, an address (rtsp://...,
            http://...), "csi://0", "picamera", or a GStreamer pipeline that ends in `appsink` and gives BGR.
        gallery: The species' gallery, if `bundle` is not a recognizer.
        region: The part of each frame to classify, x0, y0, x1, y1 in pixels; the whole frame if None.
        boxes: A detector that finds the subjects in each frame: a callable that takes a `Frame` and returns
            x0, y0, x1, y1 in pixels for each (a list, or an array of (N, 4); empty for none, None to skip the
            frame). Or a source of a detector's boxes as JSON lines, a named pipe's path or a file descriptor,
            which is read ahead and so serves one watch.
        every_frame: Whether to classify each frame and drop none; None for true of files and false of live
            sources. A file with False is played at its own rate, like a camera; a live source with True is
            slowed down, and its driver may drop frames uncounted.
        loop: Whether a file starts again when it has ended. The frames' numbers continue: frame 90 of a
            video of 90 frames is its first again, also for a detector's lines.
        follow: True to wait for further photos of a folder, once those that are there are classified. Photos
            that were answered are noted in the folder's file `.hmdrn-seen.sqlite`, or in the file whose path
            is given, so that a restart does not repeat them.
        poll: Seconds between two requests to an HTTP camera that serves one picture for each; if None, they
            are a second apart where such a camera is noticed.
        smoothing: Settings of label smoothing; `Smoothing()` if None, but `Smoothing(0, 0, 1)`, every picture
            by itself, for a folder and with `poll`.
        stall_after: Seconds without a frame after which a live source counts as stalled, above 0.
        max_frames: Most frames to classify, at least 1.
        max_seconds: Most seconds to watch, above 0, also while waiting for a frame or its boxes.
        on_event: Called with what happens to the source, in the thread that iterates.
        follow_gallery: True to take over what other processes write to the gallery's file.

    Returns:
        A `Watch`: an iterable of `WatchResult`, to iterate over once, with `summary` and `stop()`. Iterating
        raises the following errors, too.

    Raises:
        SourceError: The source is missing, cannot be opened, or has no frame; a live one only at first.
        ImageError: The region lies outside the first frame.
        GalleryError: Nothing has been enrolled.
        MissingDependencyError: The source needs OpenCV (extra `camera`).
        HmdrnError: An argument is out of its range, or arguments do not fit together; and as `load`.

    Examples:
        >>> for result in hmdrn.watch("default", "film.mp4", gallery="site7.gallery", max_frames=3):
        ...     label = result.label
    """
    parsed = poll_source(follow_source(parse_source(source), follow, loop), poll)
    settings = WatchSettings(
        every_frame=not parsed.live if every_frame is None else every_frame,
        smoothing=_choose_smoothing(parsed) if smoothing is None else smoothing,
        region=region,
        boxes=_check_boxes(boxes),
        loop=loop,
        stall_after=stall_after,
        max_frames=max_frames,
        max_seconds=max_seconds,
        on_event=on_event,
    )
    if isinstance(bundle, str | os.PathLike):
        recognizer = load(bundle, gallery)
        watching = Watch(recognizer, parsed, settings)
        if follow_gallery and gallery is not None:
            recognizer.follow_gallery(gallery, watching.report_gallery)
        return watching
    if gallery is not None:
        raise HmdrnError("give a gallery or a recognizer, which has one already")
    if not callable(getattr(bundle, "classify_batch", None)):
        raise HmdrnError(f"cannot watch with {bundle!r}: give a bundle's path, 'default' or a recognizer")
    return Watch(bundle, parsed, settings)


def _choose_smoothing(source: Source) -> Smoothing:
    return NO_SMOOTHING if source.kind == "photos" or source.poll is not None else Smoothing()


def _check_boxes(boxes: Detector | int | str | os.PathLike[str] | None) -> Detector | BoxSource | None:
    if isinstance(boxes, str | os.PathLike):
        return expand_path(boxes, HmdrnError)
    if boxes is None or callable(boxes) or (isinstance(boxes, int) and not isinstance(boxes, bool)):
        return boxes
    raise HmdrnError(
        f"boxes is {type(boxes).__name__}: give a callable that finds them in a frame, a pipe's path or a "
        "file descriptor; for the same in every frame, lambda frame: [(x0, y0, x1, y1)], or region"
    )
