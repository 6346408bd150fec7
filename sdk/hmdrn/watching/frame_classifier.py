"""From a frame to what is in it: boxes, answers, smoothed labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import PIL.Image

from hmdrn.watching.detector_input import BoxLines
from hmdrn.watching.frames import Frame
from hmdrn.watching.results import Sighting, WatchResult
from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.tracker import Tracker
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.preprocessing import Box, Boxes, check_boxes, clip_box, crop_box
from hmdrn_runtime.prediction import Prediction

Detector = Callable[[Frame], Boxes | None]
"""Finds the subjects in a frame: boxes in pixels, empty for none, None to pass the frame over."""
Place = tuple["Box | None", PIL.Image.Image]
"""A part of a frame, None for all of it, and its pixels."""


class Namer(Protocol):
    """What answers: a `Recognizer`, or whatever of yours has this method."""

    def classify_batch(self, images: list[PIL.Image.Image]) -> list[Prediction]:
        """An answer for each image."""


class Observer:
    """Answers frames, and remembers what the answers before were.

    Args:
        recognizer: Answers.
        region: The part of each frame to look at; None for all of it.
        detector: Finds the parts to look at instead.
        smoothing: How labels are smoothed.
        unusable: Called with what is wrong with a box.
        cut: Called with what is left of a region that reaches over the picture's edge.
    """

    def __init__(
        self,
        recognizer: Namer,
        region: Box | None,
        detector: Detector | None,
        smoothing: Smoothing,
        unusable: Callable[[str], None],
        cut: Callable[[str], None],
    ) -> None:
        self._recognizer, self._region, self._detector = recognizer, region, detector
        self._tracker = Tracker(smoothing)
        self._unusable, self._cut = unusable, cut
        self._size: tuple[int, int] | None = None
        """Of the picture that the region was last fitted to."""

    def look(self, frame: Frame) -> WatchResult | None:
        """What is in a frame; None where the detector passes it over and nothing is gone by then.

        Raises:
            ImageError: The frame or the region cannot be used.
            BoxesEndError: The detector has ended.
            HmdrnError: As `Recognizer.classify_batch`.
        """
        if self._detector is None:
            places: list[Place] = [self._fixed(frame.image)]
            tracks = [self._tracker.whole(places[0][0], frame.position)]
        else:
            boxes = self._detector(frame)
            if boxes is None:
                gone = self._gone(frame)
                return WatchResult(frame, (), gone, _age(frame), skipped=True) if gone else None
            check_boxes(boxes)
            usable = self._usable(frame.image, boxes) if len(boxes) else []
            places = list(usable)
            tracks = self._tracker.follow([box for box, _ in usable], frame.position)
        answers = self._recognizer.classify_batch([image for _, image in places])
        sightings = []
        for track, (box, _), answer in zip(tracks, places, answers, strict=True):
            before = track.smoother.value
            smoothed = track.smoother.update(answer, frame.position)
            sightings.append(Sighting(track.number, box, answer, smoothed, before))
        name = self._detector.frame_id if isinstance(self._detector, BoxLines) else None
        return WatchResult(frame, tuple(sightings), self._gone(frame), _age(frame), name)

    def _gone(self, frame: Frame) -> tuple[int, ...]:
        return tuple(track.number for track in self._tracker.lost(frame.position))

    def _fixed(self, image: PIL.Image.Image) -> Place:
        """The whole picture, or what the region covers of it; that this is less is told once for a size."""
        if self._region is None:
            return None, image
        seen = clip_box(self._region, image.width, image.height)
        x0, y0, x1, y1 = self._region
        if image.size != self._size and (x0 < 0 or y0 < 0 or x1 > image.width or y1 > image.height):
            asked, left = (",".join(f"{side:g}" for side in box) for box in (self._region, seen))
            self._cut(
                f"the region {asked} reaches over the picture's edge, which is {image.width}x{image.height} "
                f"pixels: {left} is looked at"
            )
        self._size = image.size
        return seen, crop_box(image, seen)

    def _usable(self, image: PIL.Image.Image, boxes: Boxes) -> list[tuple[Box, PIL.Image.Image]]:
        """The boxes with what is in them; those that cannot be used are told and left out."""
        parts = []
        for box in boxes:
            try:
                part = crop_box(image, box)
            except ImageError as error:
                self._unusable(str(error))
            else:
                x0, y0, x1, y1 = (float(side) for side in box)
                parts.append(((x0, y0, x1, y1), part))
        return parts


def _age(frame: Frame) -> float:
    """Seconds since its capture."""
    return time.monotonic() - frame.captured
