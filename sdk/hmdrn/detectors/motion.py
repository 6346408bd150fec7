"""Subjects that move before a static camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn.detectors.background import Background
from hmdrn.detectors.blob_tracks import MIN_NOVELTY, BlobTrack, BlobTracker
from hmdrn.detectors.blobs import find_blobs, find_fullest, trim_box
from hmdrn.detectors.color_memory import ColorMemory
from hmdrn.watching.frames import Frame
from hmdrn.watching.opencv import open_cv2
from hmdrn_runtime.arguments import check_number
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box

UInt8 = npt.NDArray[np.uint8]

WARM_UP_SECONDS = 1.0
"""Seconds in which the background is learned first; no boxes until then."""
SETTLE_SECONDS, SETTLE_NOVELTY = 10.0, 0.4
"""Seconds in which little has been seen of what sways, and the least novelty of a subject until then."""
WARM_UP_RATE, DISTURBED_RATE = 0.1, 0.3
"""Learning rates of the background: at the start, and after the picture has changed as a whole."""
DISTURBED_SHARE = 0.4
"""Share of foreground above which the light or the camera has changed, and no subject has appeared."""
MOVING_SHARE, MOVING_SECONDS = 0.5, 5.0
"""Share of disturbed frames over some seconds above which the camera is not static."""
PIXEL_MARGIN = 0.5
"""Part of the pixels at a subject's sides that is background: a pixel is foreground if some of it is."""
MAX_GAP = 10.0
"""Seconds between two frames after which the background is learned anew."""


@dataclass(frozen=True)
class MotionSettings:
    """Settings of `MotionDetector`.

    Attributes:
        min_size: Least height or width of a subject, as a share of the frame's height, 0.01-1.
        ignore: Zones without subjects, x0, y0, x1, y1 in pixels of the frame: a road, a flag, a clock.
        width: Width in pixels, 64-1920, to which a frame is reduced before motion is looked for.
        hold_seconds: Seconds, above 0, for which a subject that sits still stays found.

    Raises:
        HmdrnError: A value is out of its range.

    Examples:
        >>> hmdrn.MotionSettings(ignore=[(0, 0, 240, 20)]).hold_seconds
        300.0
    """

    min_size: float = 0.02
    ignore: Sequence[Box] = ()
    width: int = 480
    hold_seconds: float = 300.0

    def __post_init__(self) -> None:
        share = "give a share of the frame's height, 0.01 to 1"
        check_number(self.min_size, "min_size", share, valid=lambda value: 0.01 <= value <= 1)
        check_number(self.width, "width", "give 64 to 1920 pixels", valid=lambda value: 64 <= value <= 1920)
        check_number(self.hold_seconds, "hold_seconds", "give more than 0", valid=lambda value: value > 0)
        for zone in self.ignore:
            if len(zone) != 4 or not (zone[0] < zone[2] and zone[1] < zone[3]):
                raise HmdrnError(
                    f"the zone {tuple(zone)} is empty: give x0, y0, x1, y1 with x0 < x1 and y0 < y1"
                )


class MotionDetector:
    """Finds what moves before a static camera; give it to `hmdrn.watch` as `boxes`.

    Changes of the light, swaying leaves and noise are not subjects. A subject is found half a second to a
    second after it appears, and stays found while it sits still. Frames must come in the order of their
    `position`.

    Args:
        settings: Sizes, zones and times; `MotionSettings()` if None.
        report: Called once, with a message, if the camera moves.

    Raises:
        MissingDependencyError: OpenCV is not installed (extra `camera`).

    Examples:
        >>> motion = hmdrn.MotionDetector(hmdrn.MotionSettings(min_size=0.1))
        >>> for result in hmdrn.watch("default", "film.mp4", gallery="site7.gallery", boxes=motion):
        ...     boxes = [sighting.box for sighting in result.sightings]
    """

    def __init__(
        self, settings: MotionSettings | None = None, report: Callable[[str], None] = lambda message: None
    ) -> None:
        self._cv2: Any = open_cv2("finding subjects by motion")
        self._settings, self._report = settings or MotionSettings(), report
        self._size: tuple[int, int] | None = None
        self._time = self._started = 0.0
        self._disturbance = 0.0
        """Share of the last seconds' frames that were disturbed."""
        self._reported = False

    def __call__(self, frame: Frame, /) -> list[Box]:
        """Return the boxes of the subjects in pixels of the frame, the largest first.

        A frame of another size, or after a long gap, starts anew.

        Raises:
            ImageError: The frame cannot be read.
        """
        pixels = _to_bgr(frame)
        height, width = pixels.shape[:2]
        scale = min(1.0, self._settings.width / width)
        small = self._reduce(pixels, scale)
        elapsed = frame.position - self._time
        self._time = frame.position
        if (width, height) != self._size or not 0 <= elapsed <= MAX_GAP:
            self._size = width, height
            self._start(small, scale)
            return []
        return [
            (x0 / scale, y0 / scale, min(x1 / scale, width), min(y1 / scale, height))
            for x0, y0, x1, y1 in self._find(small, max(elapsed, 1e-3))
        ]

    def _reduce(self, pixels: UInt8, scale: float) -> UInt8:
        height, width = pixels.shape[:2]
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = self._cv2.resize(pixels, size, interpolation=self._cv2.INTER_AREA)
        return np.asarray(self._cv2.GaussianBlur(small, (3, 3), 0))

    def _start(self, small: UInt8, scale: float) -> None:
        self._started, self._disturbance = self._time, 0.0
        self._background = Background(self._cv2, small)
        self._memory = ColorMemory(small, self._time)
        self._image = self._foreground = small
        self._tracker = BlobTracker(
            lambda blob, born: self._memory.measure_novelty(blob.box, self._image, self._foreground, born),
            self._locate,
        )
        self._min_side = max(3.0, self._settings.min_size * len(small))
        self._watched = np.full(small.shape[:2], 255, np.uint8)
        for zone in self._settings.ignore:
            x0, y0 = (max(0, int(side * scale)) for side in zone[:2])
            x1, y1 = (max(0, int(np.ceil(side * scale))) for side in zone[2:])
            self._watched[y0:y1, x0:x1] = 0

    def _find(self, small: UInt8, elapsed: float) -> list[Box]:
        image = self._image = self._background.compensate(small)
        self._foreground = self._background.subtract(image) & self._watched
        watched = max(1, int(np.count_nonzero(self._watched)))
        is_disturbed = int(np.count_nonzero(self._foreground)) > DISTURBED_SHARE * watched
        self._note_disturbance(is_disturbed, elapsed)
        if is_disturbed or self._time - self._started < WARM_UP_SECONDS:
            self._background.absorb(small, DISTURBED_RATE if is_disturbed else WARM_UP_RATE)
            self._tracker.tracks = []
            return []
        settled = self._time - self._started >= SETTLE_SECONDS
        blobs = find_blobs(self._cv2, self._foreground, self._min_side)
        self._tracker.update(blobs, self._time, MIN_NOVELTY if settled else SETTLE_NOVELTY)
        hold = self._settings.hold_seconds
        old = [track for track in self._tracker.tracks if self._time - track.still_since > hold]
        gaps = [track for track in self._tracker.tracks if track.confirmed and self._is_gap(track, image)]
        self._tracker.remove([*old, *gaps])
        subjects = [track for track in self._tracker.tracks if track.confirmed]
        empty = self._background.erase(image, [track.box for track in subjects])
        if old or gaps:  # neither a chair that was put down nor one that was taken away is a subject
            self._background.absorb(empty)
        self._background.learn(empty, elapsed)
        self._memory.add(empty, self._time)
        boxes = [_leave_margin(track.place) for track in subjects if track.last_seen == self._time]
        return sorted(boxes, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))

    def _locate(self, track: BlobTrack) -> Box:
        """Return the box of the subject in a region, without what touches it."""
        box = trim_box(self._foreground, track.box)
        height, width = self._foreground.shape
        if box[0] > 0 and box[1] > 0 and box[2] < width and box[3] < height:  # the whole subject is in sight
            size = track.note_size(box[2] - box[0], box[3] - box[1])
            box = find_fullest(self._foreground, box, size)
        return box

    def _is_gap(self, track: BlobTrack, image: UInt8) -> bool:
        if not track.may_be_gap or track.last_seen != self._time:
            return False
        return track.note_gap(self._background.resembles_gap(track.box, image, self._foreground), self._time)

    def _note_disturbance(self, is_disturbed: bool, elapsed: float) -> None:
        self._disturbance += (is_disturbed - self._disturbance) * min(1.0, elapsed / MOVING_SECONDS)
        if self._disturbance > MOVING_SHARE and not self._reported:
            self._reported = True
            self._report(
                "most of the picture changes from frame to frame: motion needs a camera that does not move; "
                "fix the camera, or use a detector (--detect yolo:MODEL.onnx)"
            )


def _leave_margin(box: Box) -> Box:
    """Return a box without the part of its outermost pixels that is background."""
    return box[0] + PIXEL_MARGIN, box[1] + PIXEL_MARGIN, box[2] - PIXEL_MARGIN, box[3] - PIXEL_MARGIN


def _to_bgr(frame: Frame) -> UInt8:
    """Return the pixels of a frame in BGR, (height, width, 3)."""
    if isinstance(frame.pixels, np.ndarray) and frame.pixels.shape[2:] == (3,):
        return frame.pixels
    return np.ascontiguousarray(np.asarray(frame.image)[..., ::-1])
