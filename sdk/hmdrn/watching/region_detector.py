"""A detector that answers for a part of the picture alone."""

from __future__ import annotations

from hmdrn.watching.frames import Detector, Frame
from hmdrn_runtime.images.decoding import MIN_SIDE
from hmdrn_runtime.images.preprocessing import Box


class RegionDetector:
    """Keeps those boxes of a detector whose center lies in a region, clipped to it.

    The detector sees the whole frame: its zones keep their place, and what it knows of the background stays.

    Args:
        detector: Finds the boxes.
        region: x0, y0, x1, y1 in pixels of the frame.
    """

    def __init__(self, detector: Detector, region: Box) -> None:
        self._detector, self._region = detector, region

    def __call__(self, frame: Frame, /) -> list[Box] | None:
        """Return the boxes within the region; None where the detector skips the frame."""
        boxes = self._detector(frame)
        if boxes is None:
            return None
        left, top, right, bottom = self._region
        clipped = [
            (max(x0, left), max(y0, top), min(x1, right), min(y1, bottom))
            for x0, y0, x1, y1 in (map(float, box) for box in boxes)
            if left <= (x0 + x1) / 2 <= right and top <= (y0 + y1) / 2 <= bottom
        ]
        return [box for box in clipped if min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE]
