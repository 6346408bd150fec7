"""Frames brought to the size of a network's input, and boxes brought back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image

PADDING = 114
"""Gray level of the border, 0-255, as in the training of YOLO."""


@dataclass(frozen=True)
class Letterbox:
    """A frame scaled into a rectangle, with equal borders on both sides.

    Attributes:
        frame: Width and height of the frame in pixels.
        size: Width and height of the network's input.
    """

    frame: tuple[int, int]
    size: tuple[int, int]

    @property
    def scale(self) -> float:
        """Pixels of the input for each pixel of the frame."""
        return min(self.size[0] / self.frame[0], self.size[1] / self.frame[1])

    @property
    def inner(self) -> tuple[int, int]:
        """Width and height of the scaled frame."""
        width, height = (max(1, round(side * self.scale)) for side in self.frame)
        return width, height

    @property
    def offset(self) -> tuple[int, int]:
        """Left and upper border."""
        (width, height), (inner_width, inner_height) = self.size, self.inner
        return (width - inner_width) // 2, (height - inner_height) // 2

    def apply(self, image: PIL.Image.Image) -> npt.NDArray[np.float32]:
        """Return the input of a network: RGB, 0-1, of (1, 3, height, width)."""
        padded = PIL.Image.new("RGB", self.size, (PADDING,) * 3)
        padded.paste(image.resize(self.inner, PIL.Image.Resampling.BILINEAR, reducing_gap=2.0), self.offset)
        pixels = np.asarray(padded, np.float32) / 255
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])

    def restore(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Bring boxes (N, 4) of the input to pixels of the frame, and clip them to it."""
        (left, top), (width, height) = self.offset, self.frame
        scaled = (boxes - np.array([left, top, left, top], np.float32)) / np.float32(self.scale)
        clipped = np.clip(scaled, 0, np.array([width, height, width, height], np.float32))
        return np.asarray(clipped, np.float32)


def fit_size(frame: tuple[int, int], long_side: int, stride: int) -> tuple[int, int]:
    """Return the smallest input for a network of dynamic size.

    Args:
        frame: Width and height of the frame.
        long_side: Longer side of the input in pixels.
        stride: Both sides of the input are multiples of it.
    """
    scale = long_side / max(frame)
    width, height = (max(1, -(-round(side * scale) // stride)) * stride for side in frame)
    return width, height
