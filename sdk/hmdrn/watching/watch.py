"""Watch a source: check the settings, and make the loop over its frames."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from hmdrn.loading import load
from hmdrn.watching.detector_input import BoxSource
from hmdrn.watching.frame_classifier import ClassifierProtocol
from hmdrn.watching.frames import Detector
from hmdrn.watching.results import SourceEvent
from hmdrn.watching.settings import NO_SMOOTHING, WatchSettings
from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.sources import Source, date_source, follow_source, parse_source, poll_source
from hmdrn.watching.watch_loop import Watch
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import expand_path


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
    start: datetime | None = None,
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
        start: When the recording of a video began, in the local time zone unless it has one; None for its
            file's last change less its length. A video that loops, or of which frames are dropped, is played
            like a camera: its frames have the present time.
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
    every_frame = not parsed.live if every_frame is None else every_frame
    parsed = date_source(parsed, start, is_played=loop or not every_frame)
    settings = WatchSettings(
        every_frame=every_frame,
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
