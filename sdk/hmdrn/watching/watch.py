"""Watching: the loop over a source's frames, and its settings."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hmdrn.loading import load
from hmdrn.watching.detector_input import BoxesEndError, BoxLines, BoxSource, check_box_source
from hmdrn.watching.frame_classifier import Detector, Namer, Observer
from hmdrn.watching.frames import Frame
from hmdrn.watching.reconnecting_source import Feed
from hmdrn.watching.results import SourceEvent, SourceState, WatchResult
from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.sources import Source, parse_source
from hmdrn.watching.summary import Summary
from hmdrn_runtime.errors import HmdrnError, ImageError, SourceError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import user_path

SEPARATE = Smoothing(0.0, 0.0, 1)
"""Every frame by itself, as for a folder: its photos need not follow each other."""
_SLICE = 0.05
"""Seconds of waiting after which it is looked whether to stop."""


@dataclass(frozen=True)
class Settings:
    """How to watch; see `watch` for each."""

    every_frame: bool
    smoothing: Smoothing
    region: Box | None = None
    boxes: Detector | BoxSource | None = None
    loop: bool = False
    stall_after: float = 5.0
    max_frames: int | None = None
    max_seconds: float | None = None
    on_event: Callable[[SourceEvent], None] | None = None

    def __post_init__(self) -> None:
        if self.region is not None and self.boxes is not None:
            raise HmdrnError("give a region or boxes, not both: boxes are pixels of the whole frame")
        if not self.stall_after > 0:
            raise HmdrnError(f"stall_after is {self.stall_after}: give more than 0 seconds")
        if self.max_frames is not None and not self.max_frames >= 1:
            raise HmdrnError(f"max_frames is {self.max_frames}: give at least 1, or None for no limit")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise HmdrnError(f"max_seconds is {self.max_seconds}: give more than 0, or None for no limit")
        if isinstance(self.boxes, int | Path):
            check_box_source(self.boxes)


class Watch:
    """Names what a source shows; iterate over it, once. `watch` makes one.

    Attributes:
        source: What is watched.
        summary: Of what was seen so far.
        rate: Frames a second that the source tells; 0 until the first frame.
    """

    def __init__(self, recognizer: Namer, source: Source, settings: Settings) -> None:
        self.source = source
        self.summary = Summary()
        self.rate = 0.0
        self._recognizer, self._settings = recognizer, settings
        self._stopped = threading.Event()
        self._begun: float | None = None
        """When iterating began, on the monotonic clock."""
        self._bad: set[str] = set()
        """Photos that could not be used."""

    def stop(self) -> None:
        """End it after the frame in work; from any thread or signal handler."""
        self._stopped.set()

    def __iter__(self) -> Iterator[WatchResult]:
        """The results as they come.

        Raises:
            HmdrnError: As `watch`; or it was iterated over before.
        """
        if self._begun is not None:
            raise HmdrnError("this watch was iterated over already: make another with hmdrn.watch(...)")
        began = self._begun = time.monotonic()
        settings, summary = self._settings, self.summary
        detector = self._detector()
        observer = Observer(
            self._recognizer,
            settings.region,
            detector,
            settings.smoothing,
            self._tell_unreadable,
            lambda message: self._tell("region", message),
        )
        feed = Feed(self.source, settings.every_frame, settings.loop, settings.stall_after, self._tell)
        try:
            while not (feed.ended or self._over()):
                frame = feed.take(_SLICE)
                result = None
                if frame is not None:
                    self.rate = feed.rate
                    result = self._look(observer, frame)
                self._count(feed, detector, began)
                if result is not None:
                    summary.add(result)
                    yield result
        except BoxesEndError:
            summary.skipped += 1
            self._tell("boxes", "the boxes have ended")
        finally:
            feed.close()
            self._count(feed, detector, began)

    def _over(self) -> bool:
        """Whether it was stopped or has come to a limit."""
        frames, seconds = self._settings.max_frames, self._settings.max_seconds
        if self._stopped.is_set() or (frames is not None and self.summary.classified >= frames):
            return True
        return seconds is not None and self._begun is not None and time.monotonic() - self._begun >= seconds

    def _detector(self) -> Detector | None:
        boxes = self._settings.boxes
        if not isinstance(boxes, int | Path):
            return boxes
        in_order = self._settings.every_frame and not self.source.live
        return BoxLines(boxes, in_order, lambda problem: self._tell("boxes", problem), self._over)

    def _look(self, observer: Observer, frame: Frame) -> WatchResult | None:
        try:
            result = observer.look(frame)
        except ImageError as error:
            # A region that does not fit the camera's picture is a mistake in the call.
            if self._settings.region is not None and not self.summary.classified:
                raise
            self.summary.unreadable += 1
            self._tell_bad(frame, error)
            return None
        self.summary.skipped += result is None or result.skipped
        return result

    def _count(self, feed: Feed, detector: Detector | None, began: float) -> None:
        summary = self.summary
        summary.read, summary.dropped, summary.reconnects = feed.read, feed.dropped, feed.reconnects
        if isinstance(detector, BoxLines):
            summary.bad_lines, summary.unused_lines = detector.bad, detector.unused
        summary.seconds = time.monotonic() - began

    def _tell_bad(self, frame: Frame, error: ImageError) -> None:
        """Tell that a frame cannot be used; of a photo once, however often it comes round in a loop."""
        if frame.file is None or frame.file not in self._bad:
            self._tell_unreadable(str(error))
        elif not (self.summary.classified or self.summary.skipped):
            raise SourceError(f"{self.source.name} has no photo that can be read: look at the lines above")
        if frame.file is not None:
            self._bad.add(frame.file)

    def _tell_unreadable(self, message: str) -> None:
        self._tell("unreadable", message)

    def _tell(self, state: SourceState, message: str) -> None:
        if self._settings.on_event is not None:
            self._settings.on_event(SourceEvent(state, message, time.time()))


def watch(
    bundle: str | os.PathLike[str] | Namer,
    source: str | int | os.PathLike[str],
    gallery: str | os.PathLike[str] | None = None,
    *,
    region: Box | None = None,
    boxes: Detector | int | str | os.PathLike[str] | None = None,
    every_frame: bool | None = None,
    loop: bool = False,
    smoothing: Smoothing | None = None,
    stall_after: float = 5.0,
    max_frames: int | None = None,
    max_seconds: float | None = None,
    on_event: Callable[[SourceEvent], None] | None = None,
) -> Watch:
    """Name what a camera, stream or video shows, frame by frame.

        for result in hmdrn.watch("default", 0, gallery="site7.gallery"):
            if result.changed:
                print(result.label)

    Of a live source only the newest frame is looked at: while an answer is in work, newer frames overtake
    older ones and are counted as dropped, so that an answer is never late by more than one frame in work.
    A live source that stalls or dies is opened again, with growing pauses, for ever; a file ends.

    Args:
        bundle: A bundle's path, "default", or a recognizer.
        source: A camera's number (0), a video, a folder of photos or one photo, an address (rtsp://...,
            http://...), "csi://0", or a GStreamer pipeline that ends in `appsink` and gives BGR.
        gallery: The species' gallery, where `bundle` is no recognizer.
        region: The part of each frame to look at, x0, y0, x1, y1 in pixels; the whole frame if None.
        boxes: Finds the subjects in each frame: a callable that takes a `Frame` and gives x0, y0, x1, y1 in
            pixels for each (a list, or an array of (N, 4); empty for none, None to pass the frame over); or
            where a detector's boxes come from as JSON lines, a named pipe's path or a file descriptor,
            which is read ahead and so serves one watch.
        every_frame: Whether each frame is looked at and none dropped. None: of files yes, of live sources
            no. A file with False is played at its own rate, like a camera; a live source with True is slowed
            down, and its driver may drop frames uncounted.
        loop: Whether a file begins again when it has ended. The frames' numbers go on then: frame 90 of a
            film of 90 frames is its first once more, for a detector's lines, too.
        smoothing: How labels are smoothed; `Smoothing()` if None, and for a folder every photo by itself,
            `Smoothing(0, 0, 1)`.
        stall_after: Seconds without a frame after which a live source counts as stalled, above 0.
        max_frames: Frames to answer at most, at least 1.
        max_seconds: Seconds to watch at most, above 0; also while a frame or its boxes are waited for.
        on_event: Called with what happens to the source, in the thread that iterates.

    Returns:
        A `Watch`: an iterable of `WatchResult`, to go through once, with `summary` and `stop()`. Iterating
        raises what follows, too.

    Raises:
        SourceError: The source is missing, cannot be opened, or has no frame; a live one only at first.
        ImageError: The region lies outside the first frame.
        GalleryError: Nothing has been enrolled.
        MissingDependencyError: The source needs OpenCV (extra `camera`).
        HmdrnError: An argument is out of its range, or they do not fit together; and as `load`.
    """
    found = parse_source(source)
    settings = Settings(
        every_frame=not found.live if every_frame is None else every_frame,
        smoothing=smoothing or (SEPARATE if found.kind == "photos" else Smoothing()),
        region=region,
        boxes=_boxes(boxes),
        loop=loop,
        stall_after=stall_after,
        max_frames=max_frames,
        max_seconds=max_seconds,
        on_event=on_event,
    )
    if isinstance(bundle, str | os.PathLike):
        return Watch(load(bundle, gallery), found, settings)
    if gallery is not None:
        raise HmdrnError("give a gallery or a recognizer, which has one of its own")
    if not callable(getattr(bundle, "classify_batch", None)):
        raise HmdrnError(f"cannot watch with {bundle!r}: give a bundle's path, 'default' or a recognizer")
    return Watch(bundle, found, settings)


def _boxes(boxes: Detector | int | str | os.PathLike[str] | None) -> Detector | BoxSource | None:
    if isinstance(boxes, str | os.PathLike):
        return user_path(boxes, HmdrnError)
    if boxes is None or callable(boxes) or (isinstance(boxes, int) and not isinstance(boxes, bool)):
        return boxes
    raise HmdrnError(
        f"boxes is {type(boxes).__name__}: give a callable that finds them in a frame, a pipe's path or a "
        "file descriptor; for the same in every frame, lambda frame: [(x0, y0, x1, y1)], or region"
    )
