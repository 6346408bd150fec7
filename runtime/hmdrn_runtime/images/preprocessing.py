"""Cropping and resizing of images to network inputs, and the digests that identify them.

The network takes RGB uint8 arrays of (side, side, 3); their normalization is part of the graph. Every photo
is read by `decoding`, then prepared here, and ends as that array or with an `ImageError`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import MIN_SIDE, ImageSource, check_size, load_image
from hmdrn_runtime.images.source import describe_source

Box: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright image; x1 and y1 are exclusive."""
Boxes: TypeAlias = Sequence[Box] | npt.NDArray[Any]
"""Boxes, or an array of (N, 4) of them, as detectors return."""

PREPROCESSING_MODES = ("crop", "squash")
"""Ways to make a whole image square: cut out its center, or squeeze it."""


@dataclass(frozen=True)
class Preprocessing:
    """The way from an image to a network's input.

    An image is resized, then its central square is cut out; one that has the input's size already is used
    unchanged.

    Attributes:
        mode: "crop" resizes the shorter side to `resize` pixels and keeps the aspect ratio, for whole photos;
            "squash" resizes to a square of that side, for photos cropped to the animal or plant.
        side: Height and width of the network's input in pixels.

    Raises:
        ImageError: The mode is unknown, or the side is not positive.
    """

    mode: str
    side: int

    def __post_init__(self) -> None:
        if self.mode not in PREPROCESSING_MODES:
            raise ImageError(
                f"unknown preprocessing {self.mode!r}: choose one of {', '.join(PREPROCESSING_MODES)}"
            )
        if self.side < 1:
            raise ImageError(f"a network input of {self.side} pixels does not exist: give a positive side")

    @property
    def resize(self) -> int:
        """Pixels of the side that an image is resized to: 92 for an input of 84, as in the papers."""
        return round(self.side * 92 / 84)


def check_boxes(boxes: Boxes) -> None:
    """Raise an `ImageError` for a single box or anything else that is not a list of boxes."""
    try:
        single = len(boxes) > 0 and all(np.ndim(side) == 0 for side in boxes)
    except (TypeError, ValueError) as error:
        raise ImageError(f"boxes is {boxes!r}: pass a list, [(x0, y0, x1, y1), ...]") from error
    if single:
        shown = tuple(np.asarray(boxes).tolist())
        raise ImageError(f"boxes is a single box, {shown}: pass a list, [(x0, y0, x1, y1)]")


def crop_box(image: PIL.Image.Image, box: Box) -> PIL.Image.Image:
    """Cut a box out of an RGB image, as `load_image` returns it, and return a new image.

    See `clip_box` for the box and the errors; an image that is not RGB is an `ImageError` too.
    """
    _check_rgb(image)
    return image.crop(clip_box(box, image.width, image.height))


def clip_box(box: Box, width: int, height: int, name: str = "the image") -> tuple[int, int, int, int]:
    """Round a box to whole pixels (halves to even) and clip it to an image.

    Args:
        box: x0, y0, x1, y1 in pixels of the image.
        width: The image's width in pixels.
        height: The image's height in pixels.
        name: The image's name in messages.

    Raises:
        ImageError: The box is not four finite numbers with x1 > x0 and y1 > y0, lies outside the image,
            or has a side under `MIN_SIDE` within it.
    """
    try:
        x0, y0, x1, y1 = (float(value) for value in box)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(
            f"box {box!r} for {name} is not four numbers: pass x0, y0, x1, y1 in pixels"
        ) from error
    shown = f"({x0:g}, {y0:g}, {x1:g}, {y1:g})"
    if not all(math.isfinite(value) for value in (x0, y0, x1, y1)):
        raise ImageError(f"box {shown} for {name} is not finite: pass x0, y0, x1, y1 in pixels")
    if x1 <= x0 or y1 <= y0:
        raise ImageError(f"box {shown} for {name} is empty: pass x0, y0, x1, y1 with x1 > x0 and y1 > y0")
    size = f"{width}x{height} pixels"
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ImageError(f"box {shown} lies outside {name} of {size}: give it in pixels of the upright image")
    left, right = (min(max(round(x), 0), width) for x in (x0, x1))
    top, bottom = (min(max(round(y), 0), height) for y in (y0, y1))
    if min(right - left, bottom - top) < MIN_SIDE:
        raise ImageError(
            f"box {shown} covers {right - left}x{bottom - top} pixels of {name} of {size}: "
            f"each side must have at least {MIN_SIDE} pixels of the upright image; use a larger box"
        )
    return left, top, right, bottom


def preprocess(
    image: PIL.Image.Image, preprocessing: Preprocessing, name: str | None = None
) -> npt.NDArray[np.uint8]:
    """Turn an image into the network's input.

    Args:
        image: An RGB image, as `load_image` returns it.
        preprocessing: Mode and side.
        name: The image's name in messages; None describes the image.

    Returns:
        RGB uint8 array of (side, side, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: The image is not RGB, or of a size that `load_image` refuses.
    """
    _check_rgb(image)
    side = preprocessing.side
    if image.size == (side, side):
        return np.array(image, dtype=np.uint8, order="C")
    check_size(image.width, image.height, name or describe_source(image))
    size = _resized_size(image.width, image.height, preprocessing)
    resized = np.asarray(image.resize(size, Resampling.BILINEAR))
    top, left = (round((length - side) / 2.0) for length in resized.shape[:2])
    return np.array(resized[top : top + side, left : left + side], dtype=np.uint8, order="C")


def prepare(source: ImageSource, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Read a photo and turn it into the network's input, RGB uint8 (side, side, 3).

    See `load_image` and `preprocess` for the arguments, the array and the errors.
    """
    return preprocess(load_image(source), preprocessing, describe_source(source))


def find_visible_box(width: int, height: int, preprocessing: Preprocessing) -> Box:
    """Return the part of an image of this size that `preprocess` keeps, not rounded to whole pixels."""
    side = preprocessing.side
    if (width, height) == (side, side):
        return 0.0, 0.0, float(width), float(height)
    new_width, new_height = _resized_size(width, height, preprocessing)
    left, top = (round((length - side) / 2.0) for length in (new_width, new_height))
    x, y = width / new_width, height / new_height
    return left * x, top * y, (left + side) * x, (top + side) * y


def hash_pixels(pixels: npt.NDArray[np.uint8]) -> str:
    """Identify a photo by its network input, RGB uint8 (S, S, 3); any other array is an `ImageError`.

    Returns:
        The SHA-256 of the bytes in C order, 64 lower-case hexadecimal digits.
    """
    if pixels.ndim != 3 or pixels.shape != (len(pixels), len(pixels), 3) or pixels.dtype != np.uint8:
        raise ImageError(
            f"{describe_source(pixels)} is not a network input: "
            "pass a square uint8 array of (S, S, 3), as prepare() returns it"
        )
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _resized_size(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the width and height to resize to, computed as torchvision's Resize, used in training, does."""
    resize = preprocessing.resize
    if preprocessing.mode == "squash":
        return resize, resize
    if width <= height:
        return resize, int(resize * height / width)
    return int(resize * width / height), resize


def _check_rgb(image: PIL.Image.Image) -> None:
    if image.mode != "RGB":
        raise ImageError(f"{describe_source(image)} is not RGB: pass it through load_image() first")
