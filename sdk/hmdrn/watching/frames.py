"""Frames of a source, and the detectors that find subjects in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn.watching.captures import Pixels
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import Box, Boxes, clip_box, crop_box


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        index: Number among all frames that were read, from 0; of a file, its place in it.
        position: Seconds: of a file, in the video; of a live source, since watching began.
        time: Time of capture, in seconds since 1970 (UTC); of a photo by its EXIF, else of its file's last
            change; of a video by its start, see `watch`.
        captured: The moment when the driver, decoder or network handed the frame over, on the monotonic
            clock that latencies are measured with; it is after the exposure.
        pixels: The pixels as captured.

    Examples:
        >>> [result] = hmdrn.watch("default", "film.mp4", gallery="site7.gallery", max_frames=1)
        >>> result.frame.index, result.frame.image.size
        (0, (240, 240))
    """

    index: int
    position: float
    time: float
    captured: float
    pixels: Pixels = field(repr=False)

    @property
    def file(self) -> str | None:
        """The photo's path if the source is a folder, else None."""
        return str(self.pixels) if isinstance(self.pixels, Path) else None

    @cached_property
    def image(self) -> PIL.Image.Image:
        """The frame upright, in RGB; to enroll it, classify it or show it.

        Raises:
            ImageError: The frame cannot be read, or is neither 8-bit color nor 8-bit gray.
        """
        if isinstance(self.pixels, Path):
            return load_image(self.pixels)
        return _to_rgb(self.pixels)

    def crop(self, box: Box) -> PIL.Image.Image:
        """Cut a box out of the frame, upright, in RGB; the rest of the frame is not converted.

        Args:
            box: x0, y0, x1, y1 in pixels; it is rounded, and clipped to the frame.

        Raises:
            ImageError: As `image`; or the box lies outside the frame or is too small.
        """
        if isinstance(self.pixels, Path):
            return crop_box(self.image, box)
        height, width = self.pixels.shape[:2]
        x0, y0, x1, y1 = clip_box(box, width, height)
        return _to_rgb(self.pixels[y0:y1, x0:x1])


def _to_rgb(pixels: npt.NDArray[np.uint8]) -> PIL.Image.Image:
    """Return BGR or gray pixels as an RGB image."""
    shape = pixels.shape
    if len(shape) == 2:
        return PIL.Image.fromarray(pixels).convert("RGB")
    if len(shape) != 3 or shape[2] != 3:
        raise ImageError(f"a frame of shape {shape} is neither BGR nor gray: convert it in the pipeline")
    return PIL.Image.frombytes("RGB", (shape[1], shape[0]), pixels.tobytes(), "raw", "BGR")


class Detector(Protocol):
    """Finds the subjects in a frame: any callable, such as a function, that takes a `Frame`.

    Examples:
        >>> def find_left_half(frame):
        ...     return [(0, 0, frame.image.width / 2, frame.image.height)]
        >>> [result] = hmdrn.watch(
        ...     "default", "film.mp4", gallery="site7.gallery", boxes=find_left_half, max_frames=1
        ... )
        >>> result.sightings[0].box
        (0.0, 0.0, 120.0, 240.0)
    """

    def __call__(self, frame: Frame, /) -> Boxes | None:
        """Return boxes in pixels, empty without a subject, None to skip the frame."""
