"""Images into network inputs: cropping, resizing and telling them apart.

The network looks at an RGB uint8 array of (84, 84, 3); its normalisation is part of the graph. Every
photograph is read by `decoding`, comes here next, and leaves as that array or with an `ImageError`.
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
from hmdrn_runtime.images.decoding import (
    MAX_ASPECT,
    MAX_PIXELS,
    MIN_SIDE,
    ImageSource,
    check_size,
    load_image,
)
from hmdrn_runtime.images.source import describe_source

__all__ = [
    "INPUT_SIZE",
    "MAX_ASPECT",
    "MAX_PIXELS",
    "MIN_SIDE",
    "PREPROCESSINGS",
    "RESIZE",
    "Box",
    "Boxes",
    "ImageSource",
    "check_boxes",
    "clip_box",
    "crop_box",
    "describe_source",
    "digest",
    "load_image",
    "prepare",
    "preprocess",
    "resize_side",
    "seen_box",
]

Box: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright image; x1 and y1 are exclusive."""
Boxes: TypeAlias = Sequence[Box] | npt.NDArray[Any]
"""Boxes, or an array of (N, 4) of them, as detectors give them."""

INPUT_SIZE = 84
"""Height and width of the network's input, in pixels."""
RESIZE = 92
"""Pixels of the side that an image is resized to before its centre is cut out."""
PREPROCESSINGS = ("crop", "squash")
"""How a whole image becomes square: cut out of its middle, or squeezed."""


def check_boxes(boxes: Boxes) -> None:
    """Refuse one box where a list of boxes is meant.

    Raises:
        ImageError: its entries are numbers, or it is no list.

    """
    try:
        flat = len(boxes) > 0 and all(np.ndim(side) == 0 for side in boxes)
    except (TypeError, ValueError) as error:
        raise ImageError(f"boxes is {boxes!r}: pass a list, [(x0, y0, x1, y1), ...]") from error
    if flat:
        shown = tuple(np.asarray(boxes).tolist())
        raise ImageError(f"boxes is a single box, {shown}: pass a list, [(x0, y0, x1, y1)]")


def crop_box(image: PIL.Image.Image, box: Box) -> PIL.Image.Image:
    """Cut a box out of an image.

    Args:
        image: an RGB image, as `load_image` returns it.
        box: x0, y0, x1, y1 in pixels of that image. It is rounded to whole pixels (halves to even) and
            clipped to the image.

    Returns:
        A new RGB image of the clipped box.

    Raises:
        ImageError: the box is not four finite numbers with x1 > x0 and y1 > y0, lies outside the image,
            or has a side under `MIN_SIDE` within it; or the image is not RGB.

    """
    _check_rgb(image)
    left, top, right, bottom = clip_box(box, image.width, image.height)
    # Not Image.crop, which applies Pillow's limit of pixels.
    part = PIL.Image.new("RGB", (right - left, bottom - top))
    part.paste(image, (-left, -top))
    return part


def clip_box(box: Box, width: int, height: int, name: str = "the image") -> tuple[int, int, int, int]:
    """The part of a box that lies in an image, in whole pixels: what `crop_box` cuts out.

    Args:
        box: x0, y0, x1, y1 in pixels, as for `crop_box`.
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        name: What messages call the image.

    Raises:
        ImageError: as `crop_box`.

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
    left, right = (min(max(round(x), 0), width) for x in (x0, x1))
    top, bottom = (min(max(round(y), 0), height) for y in (y0, y1))
    across, down = right - left, bottom - top
    size = f"{width}x{height} pixels"
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ImageError(f"box {shown} lies outside {name} of {size}: give it in pixels of the upright image")
    if across == 0 or down == 0:
        raise ImageError(
            f"box {shown} covers under one pixel of {name} of {size}: "
            f"each side must have at least {MIN_SIDE} pixels of the upright image"
        )
    if min(across, down) < MIN_SIDE:
        raise ImageError(
            f"box {shown} covers {across}x{down} pixels of {name} of {size}: "
            f"each side must have at least {MIN_SIDE}; use a larger box"
        )
    return left, top, right, bottom


def resize_side(side: int) -> int:
    """Pixels of the side that an image is resized to before the middle of `side` pixels is cut out."""
    return round(side * RESIZE / INPUT_SIZE)


def preprocess(image: PIL.Image.Image, mode: str, side: int = INPUT_SIZE) -> npt.NDArray[np.uint8]:
    """Turn an image into the network's input.

    Args:
        image: an RGB image, as `load_image` returns it.
        mode: "crop" resizes the shorter side to `resize_side(side)` pixels and keeps the aspect, for whole
            photographs; "squash" resizes both sides to that, for photographs cropped to the animal or
            plant. Both cut the middle square of `side` out of that. An image of that size is taken as it is.
        side: side of the network's input in pixels.

    Returns:
        RGB uint8 array of (side, side, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: the mode is unknown; the image is not RGB, or its size is refused by `load_image`.

    """
    return _network_input(image, mode, side, describe_source(image))


def prepare(source: ImageSource, mode: str, side: int = INPUT_SIZE) -> npt.NDArray[np.uint8]:
    """Read a photograph and turn it into the network's input.

    See `load_image` and `preprocess` for the arguments.

    Returns:
        RGB uint8 array of (side, side, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: as those two do, naming the source.

    """
    _check_mode(mode)
    return _network_input(load_image(source), mode, side, describe_source(source))


def seen_box(width: int, height: int, mode: str) -> Box:
    """Which part of an image of this size the network sees, not rounded to whole pixels; see `preprocess`."""
    _check_mode(mode)
    if (width, height) == (INPUT_SIZE, INPUT_SIZE):
        return 0.0, 0.0, float(width), float(height)
    across, down = _resized(width, height, mode, RESIZE)
    left, top = (round((side - INPUT_SIZE) / 2.0) for side in (across, down))
    x, y = width / across, height / down
    return left * x, top * y, (left + INPUT_SIZE) * x, (top + INPUT_SIZE) * y


def digest(pixels: npt.NDArray[np.uint8]) -> str:
    """Identify a photograph by its network input.

    Args:
        pixels: RGB uint8 array of (84, 84, 3), as `preprocess` returns it.

    Returns:
        The SHA-256 of its bytes in C order, 64 lower-case hexadecimal digits.

    Raises:
        ImageError: the array has another shape or type.

    """
    if pixels.shape != (INPUT_SIZE, INPUT_SIZE, 3) or pixels.dtype != np.uint8:
        raise ImageError(
            f"{describe_source(pixels)} is no network input: "
            f"pass a uint8 array of ({INPUT_SIZE}, {INPUT_SIZE}, 3), as prepare() returns it"
        )
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _network_input(image: PIL.Image.Image, mode: str, side: int, name: str) -> npt.NDArray[np.uint8]:
    _check_mode(mode)
    _check_rgb(image)
    if image.size == (side, side):
        return np.array(image, dtype=np.uint8, order="C")
    check_size(image.width, image.height, name)
    size = _resized(image.width, image.height, mode, resize_side(side))
    resized = np.asarray(image.resize(size, Resampling.BILINEAR))
    top, left = (round((length - side) / 2.0) for length in resized.shape[:2])
    middle = resized[top : top + side, left : left + side]
    return np.array(middle, dtype=np.uint8, order="C")


def _resized(width: int, height: int, mode: str, resize: int) -> tuple[int, int]:
    """Width and height to resize to, in the arithmetic of torchvision's Resize, which trained the network."""
    if mode == "squash":
        return resize, resize
    if width <= height:
        return resize, int(resize * height / width)
    return int(resize * width / height), resize


def _check_mode(mode: str) -> None:
    if mode not in PREPROCESSINGS:
        raise ImageError(f"unknown preprocessing {mode!r}: choose one of {', '.join(PREPROCESSINGS)}")


def _check_rgb(image: PIL.Image.Image) -> None:
    if image.mode != "RGB":
        raise ImageError(f"{describe_source(image)} is not RGB: pass it through load_image() first")
