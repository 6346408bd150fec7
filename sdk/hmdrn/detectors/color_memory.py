"""Colors of earlier frames, which show whether a region is new or only sways."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from hmdrn.detectors.blobs import to_slices
from hmdrn_runtime.images.preprocessing import Box

UInt8 = npt.NDArray[np.uint8]

REACH = 12
"""Pixels around a place in which its color is looked for in earlier frames."""
MAX_DIFFERENCE = 10
"""Mean difference of the channels, 0-255, up to which two colors are the same."""
MAX_PIXELS = 200
"""Pixels of a region that are compared."""
INTERVAL = 1.0
"""Seconds between two remembered frames."""
FRAMES = 5
"""Remembered frames."""


class ColorMemory:
    """A few earlier frames without their subjects.

    Args:
        image: The first frame, BGR uint8 of (height, width, 3).
        time: Its time in seconds.
    """

    def __init__(self, image: UInt8, time: float) -> None:
        self._frames: deque[tuple[float, UInt8]] = deque([(time, image)], maxlen=FRAMES)
        near = np.arange(-REACH, REACH + 1, 3)
        self._down, self._across = (axis.ravel() for axis in np.meshgrid(near, near, indexing="ij"))

    def add(self, image: UInt8, time: float) -> None:
        """Remember a frame, if the last one is old enough."""
        if time - self._frames[-1][0] >= INTERVAL:
            self._frames.append((time, image))

    def measure_novelty(self, box: Box, image: UInt8, foreground: UInt8, before: float) -> float:
        """Return the share of a region's pixels, 0-1, in a color that was nowhere near in earlier frames.

        A leaf that sways shows colors that were a few pixels aside a moment ago; a subject brings its own.

        Args:
            box: The region's box.
            image: The frame.
            foreground: Mask of the frame, above 0 where the region is.
            before: Time in seconds when the region was first seen; later frames may show it.
        """
        part = to_slices(box)
        rows, columns = np.nonzero(foreground[part])
        frames = [earlier for time, earlier in self._frames if time < before]
        if not len(rows) or not frames:
            return 0.0
        chosen = np.linspace(0, len(rows) - 1, min(len(rows), MAX_PIXELS)).astype(int)
        rows, columns = rows[chosen] + part[0].start, columns[chosen] + part[1].start
        height, width = foreground.shape
        y = np.clip(rows[:, None] + self._down, 0, height - 1)
        x = np.clip(columns[:, None] + self._across, 0, width - 1)
        places = y * width + x
        colors = image[rows, columns].astype(np.int16)[:, None]
        for earlier in reversed(frames):
            blue, green, red = np.moveaxis(np.abs(earlier.reshape(-1, 3)[places] - colors), 2, 0)
            is_new = (blue + green + red).min(axis=1) > 3 * MAX_DIFFERENCE
            places, colors = places[is_new], colors[is_new]
        return len(places) / len(rows)
