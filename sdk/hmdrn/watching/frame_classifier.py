"""Classify a frame: find boxes, predict, smooth the labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import PIL.Image

from hmdrn.watching.detector_input import DetectorInput
from hmdrn.watching.frames import Detector, Frame
from hmdrn.watching.results import Sighting, WatchResult
from hmdrn.watching.smoothing import Smoother, Smoothing
from hmdrn.watching.tracker import Tracker
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.preprocessing import Box, Boxes, check_boxes, clip_box, crop_box

WHOLE_FRAME = 0
"""The track number of the whole frame or the fixed region."""


class ClassifierProtocol(Protocol):
    """A classifier of images: a `Recognizer`, or any object with this method.

    Examples:
        >>> class Coin:
        ...     def classify_batch(self, images):
        ...         match = hmdrn.Match("Heads", 1.0, 0.0, {})
        ...         return [hmdrn.Prediction("Heads", 1.0, 1.0, None, (match,)) for _ in images]
        >>> [result.label for result in hmdrn.watch(Coin(), "film.mp4", max_frames=3)]
        [None, None, 'Heads']
    """

    def classify_batch(self, images: list[PIL.Image.Image]) -> list[Prediction]:
        """Return a prediction for each image."""


class FrameClassifier:
    """Classifies frames, and keeps the smoothed labels.

    Args:
        classifier: Predicts the species on an image.
        region: The part of each frame to classify; None for the whole frame.
        detector: Finds the boxes to classify instead.
        smoothing: Settings of label smoothing.
        report_box: Called with the problem of a box that cannot be used.
        report_region: Called, once for each size of the image, if the region was clipped to it.
    """

    def __init__(
        self,
        classifier: ClassifierProtocol,
        region: Box | None,
        detector: Detector | None,
        smoothing: Smoothing,
        report_box: Callable[[str], None],
        report_region: Callable[[str], None],
    ) -> None:
        self._classifier, self._region, self._detector = classifier, region, detector
        self._smoothing = smoothing
        self._smoother, self._tracker = Smoother(smoothing), Tracker(smoothing)
        self._gone: tuple[int, ...] = ()
        """Tracks that the last `look_at` has ended."""
        self._report_box, self._report_region = report_box, report_region
        self._region_size: tuple[int, int] | None = None
        """Size of the image that the region was last clipped to."""

    def look_at(self, region: Box | None, detector: Detector | None) -> None:
        """Go on with another region or detector; the subjects so far are gone with the next result."""
        self._region, self._detector, self._region_size = region, detector, None
        self._smoother = Smoother(self._smoothing)
        self._gone += (WHOLE_FRAME, *self._tracker.drop_lost(math.inf))

    def classify(self, frame: Frame) -> WatchResult | None:
        """Classify a frame; None if the detector skips it and no subject is gone by now.

        Raises:
            ImageError: The frame or the region cannot be used.
            BoxesEndError: The detector has ended.
            HmdrnError: As `Recognizer.classify_batch`.
        """
        boxes: list[Box | None]
        if self._detector is None:
            box, image = self._crop_region(frame.image)
            boxes, images, subjects = [box], [image], [(WHOLE_FRAME, self._smoother)]
        else:
            detected = self._detector(frame)
            if detected is None:
                gone = self._drop_gone(frame)
                return WatchResult(frame, (), gone, _latency(frame), skipped=True) if gone else None
            check_boxes(detected)
            crops = self._crop_boxes(frame, detected) if len(detected) else []
            boxes, images = [box for box, _ in crops], [image for _, image in crops]
            tracks = self._tracker.match([box for box, _ in crops], frame.position)
            subjects = [(track.number, track.smoother) for track in tracks]
        predictions = self._classifier.classify_batch(images)
        sightings = []
        for (number, smoother), box, prediction in zip(subjects, boxes, predictions, strict=True):
            previous = smoother.value
            smoothed = smoother.update(prediction, frame.position)
            sightings.append(Sighting(number, box, prediction, smoothed, previous))
        gone = self._drop_gone(frame)
        frame_id = self._detector.frame_id if isinstance(self._detector, DetectorInput) else None
        return WatchResult(frame, tuple(sightings), gone, _latency(frame), frame_id)

    def _drop_gone(self, frame: Frame) -> tuple[int, ...]:
        gone = (*self._gone, *self._tracker.drop_lost(frame.position))
        self._gone = ()
        return gone

    def _crop_region(self, image: PIL.Image.Image) -> tuple[Box | None, PIL.Image.Image]:
        if self._region is None:
            return None, image
        clipped = clip_box(self._region, image.width, image.height)
        x0, y0, x1, y1 = self._region
        if image.size != self._region_size and (x0 < 0 or y0 < 0 or x1 > image.width or y1 > image.height):
            given, used = (",".join(f"{side:g}" for side in box) for box in (self._region, clipped))
            self._report_region(
                f"the region {given} crosses the border of the image, which has {image.width}x{image.height} "
                f"pixels: {used} is used"
            )
        self._region_size = image.size
        return clipped, crop_box(image, clipped)

    def _crop_boxes(self, frame: Frame, boxes: Boxes) -> list[tuple[Box, PIL.Image.Image]]:
        """Return the usable boxes with their images; report the others."""
        crops = []
        for box in boxes:
            try:
                crop = frame.crop(box)
            except ImageError as error:
                self._report_box(str(error))
            else:
                x0, y0, x1, y1 = (float(side) for side in box)
                crops.append(((x0, y0, x1, y1), crop))
        return crops


def _latency(frame: Frame) -> float:
    """Return the seconds since the frame's capture."""
    return time.monotonic() - frame.captured
