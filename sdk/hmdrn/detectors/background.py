"""The background of a static camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn.detectors.blobs import to_slices
from hmdrn_runtime.images.preprocessing import Box

UInt8 = npt.NDArray[np.uint8]

LEARNING_SECONDS = 20.0
"""Time constant with which the background follows what is not a subject."""
ABSORB_RATE = 0.5
"""Learning rate with which something becomes background at once."""
HISTORY, THRESHOLD, SHADOW = 500, 20.0, 0.6
"""Settings of OpenCV's MOG2: frames, squared Mahalanobis distance of the foreground, darkest shadow."""
SUBJECT_MARGIN = 4
"""Pixels around a subject that are not learned either."""


class Background:
    """A mixture of Gaussians per pixel (Zivkovic, ICPR 2004; OpenCV's MOG2).

    Its caller erases the subjects before it learns, so that an animal that sits still stays foreground.

    Args:
        cv2: OpenCV.
        image: The first frame, BGR uint8 of (height, width, 3).
    """

    def __init__(self, cv2: Any, image: UInt8) -> None:
        self._cv2 = cv2
        self._model = cv2.createBackgroundSubtractorMOG2(HISTORY, THRESHOLD, True)
        self._model.setShadowThreshold(SHADOW)
        self._model.apply(image, learningRate=1.0)
        self._mean: UInt8 = image

    def compensate(self, image: UInt8) -> UInt8:
        """Bring a frame to the background's brightness: clouds and exposure scale all pixels alike."""
        self._mean = self._model.getBackgroundImage()
        now, before = (part[::4, ::4].astype(np.float32).mean(axis=2) + 1 for part in (image, self._mean))
        gain = float(np.median(before / now))
        if abs(gain - 1) < 0.01:
            return image
        return np.asarray(self._cv2.convertScaleAbs(image, alpha=min(max(gain, 0.5), 2.0)))

    def subtract(self, image: UInt8) -> UInt8:
        """Return the foreground of a compensated frame: 255, else 0, without shadows."""
        mask = self._model.apply(image, learningRate=0)
        return np.asarray(self._cv2.compare(mask, 255, self._cv2.CMP_EQ))

    def erase(self, image: UInt8, subjects: Sequence[Box]) -> UInt8:
        """Return a compensated frame with the background in place of the subjects."""
        erased = image.copy() if subjects else image
        for box in subjects:
            part = to_slices(box, SUBJECT_MARGIN)
            erased[part] = self._mean[part]
        return erased

    def learn(self, image: UInt8, elapsed: float) -> None:
        """Follow a frame without its subjects, some seconds after the last one."""
        self._model.apply(image, learningRate=1 - np.exp(-elapsed / LEARNING_SECONDS))

    def absorb(self, image: UInt8, rate: float = ABSORB_RATE) -> None:
        """Learn a frame fast: what it shows is the background from now on."""
        self._model.apply(image, learningRate=rate)

    def resembles_gap(self, box: Box, image: UInt8, foreground: UInt8) -> bool:
        """Return whether a region looks like the gap that a subject has left.

        A subject's outline is an edge of the frame; a gap's is an edge of the background, which had learned
        the subject before it went.
        """
        part = to_slices(box, 3)
        outline = self._cv2.morphologyEx(
            foreground[part], self._cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
        )
        now, before = (self._measure_edges(picture[part], outline) for picture in (image, self._mean))
        return before > 1.5 * now + 2.0

    def _measure_edges(self, image: UInt8, outline: UInt8) -> float:
        """Return the mean absolute gradient along an outline."""
        gray = self._cv2.cvtColor(image, self._cv2.COLOR_BGR2GRAY)
        across, down = (self._cv2.Sobel(gray, self._cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
        edges = np.abs(across) + np.abs(down)
        return float(edges[outline > 0].mean()) if outline.any() else 0.0
