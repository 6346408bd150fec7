"""Cropping and resizing of images to network inputs, and the digests that identify them.

The network takes RGB uint8 arrays of (84, 84, 3); their normalization is part of the graph. Every photo is
read by `decoding`, then prepared here, and ends as that array or with an `ImageError`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
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

INPUT_SIZE = 84
"""Height and width of the network's input, in pixels."""
RESIZE = 92
"""Pixels of the side that an image is resized to before its center is cut out."""
PREPROCESSING_MODES = ("crop", "squash")
"""Ways to make a whole image square: cut out its center, or squeeze it."""


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


def preprocess(image: PIL.Image.Image, mode: str, name: str | None = None) -> npt.NDArray[np.uint8]:
    """Turn an image into the network's input.

    Args:
        image: An RGB image, as `load_image` returns it.
        mode: "crop" resizes the shorter side to 92 pixels and keeps the aspect ratio, for whole photos;
            "squash" resizes to 92 x 92, for photos cropped to the animal or plant. Both then cut out the
            central 84 x 84. An image of 84 x 84 is used unchanged.
        name: The image's name in messages; None describes the image.

    Returns:
        RGB uint8 array of (84, 84, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: The mode is unknown; the image is not RGB, or of a size that `load_image` refuses.
    """
    _check_mode(mode)
    _check_rgb(image)
    if image.size == (INPUT_SIZE, INPUT_SIZE):
        return np.array(image, dtype=np.uint8, order="C")
    check_size(image.width, image.height, name or describe_source(image))
    resized = np.asarray(image.resize(_resized_size(image.width, image.height, mode), Resampling.BILINEAR))
    top, left = (round((side - INPUT_SIZE) / 2.0) for side in resized.shape[:2])
    center = resized[top : top + INPUT_SIZE, left : left + INPUT_SIZE]
    return np.array(center, dtype=np.uint8, order="C")


def prepare(source: ImageSource, mode: str) -> npt.NDArray[np.uint8]:
    """Read a photo and turn it into the network's input, RGB uint8 (84, 84, 3).

    See `load_image` and `preprocess` for the arguments, the array and the errors.
    """
    _check_mode(mode)
    return preprocess(load_image(source), mode, describe_source(source))


def find_visible_box(width: int, height: int, mode: str) -> Box:
    """Return the part of an image of this size that `preprocess` keeps, not rounded to whole pixels."""
    _check_mode(mode)
    if (width, height) == (INPUT_SIZE, INPUT_SIZE):
        return 0.0, 0.0, float(width), float(height)
    new_width, new_height = _resized_size(width, height, mode)
    left, top = (round((side - INPUT_SIZE) / 2.0) for side in (new_width, new_height))
    x, y = width / new_width, height / new_height
    return left * x, top * y, (left + INPUT_SIZE) * x, (top + INPUT_SIZE) * y


def hash_pixels(pixels: npt.NDArray[np.uint8]) -> str:
    """Identify a photo by its network input, RGB uint8 (84, 84, 3); any other array is an `ImageError`.

    Returns:
        The SHA-256 of the bytes in C order, 64 lower-case hexadecimal digits.
    """
    if pixels.shape != (INPUT_SIZE, INPUT_SIZE, 3) or pixels.dtype != np.uint8:
        raise ImageError(
            f"{describe_source(pixels)} is not a network input: "
            f"pass a uint8 array of ({INPUT_SIZE}, {INPUT_SIZE}, 3), as prepare() returns it"
        )
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _resized_size(width: int, height: int, mode: str) -> tuple[int, int]:
    """Return the width and height to resize to, computed as torchvision's Resize, used in training, does."""
    if mode == "squash":
        return RESIZE, RESIZE
    if width <= height:
        return RESIZE, int(RESIZE * height / width)
    return int(RESIZE * width / height), RESIZE


def _check_mode(mode: str) -> None:
    if mode not in PREPROCESSING_MODES:
        raise ImageError(f"unknown preprocessing {mode!r}: choose one of {', '.join(PREPROCESSING_MODES)}")


def _check_rgb(image: PIL.Image.Image) -> None:
    if image.mode != "RGB":
        raise ImageError(f"{describe_source(image)} is not RGB: pass it through load_image() first")
