"""Photographs that are only to be classified into network inputs, sooner than `images.prepare` does.

Only the part that the network will see is read, and a large one is averaged over whole pixels before it is
resized. Photographs come out within 1 of 255 on average of what `images.prepare` gives, but not the same to
the last bit: what is enrolled goes through that, whose result is a photo's identity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from hmdrn_runtime.images.decoding import ImageSource, check_array, check_size, load_image
from hmdrn_runtime.images.preprocessing import (
    INPUT_SIZE,
    RESIZE,
    Box,
    clip_box,
    crop_box,
    preprocess,
    seen_box,
)
from hmdrn_runtime.images.source import describe_source

_LARGE = 4 * RESIZE
"""Shorter side in pixels from which a region is averaged by a whole number before it is resized."""
_REDUCING_GAP = 1.5
"""How many times larger than the input a region is averaged to; at 1, differences exceed 1 of 255."""

_Whole: TypeAlias = PIL.Image.Image | npt.NDArray[np.uint8]
_Region: TypeAlias = tuple[int, int, int, int]


def prepare_query(source: ImageSource, mode: str) -> npt.NDArray[np.uint8]:
    """Read a photograph and turn it into the network's input.

    Args:
        source: as for `images.load_image`.
        mode: as for `images.preprocess`.

    Returns:
        RGB uint8 array of (84, 84, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: as `images.prepare`.
    """
    whole, name = _readable(source), describe_source(source)
    return _network_input(whole, (0, 0, *_size(whole)), mode, name)


def prepare_boxes(source: ImageSource, boxes: Iterable[Box], mode: str) -> list[npt.NDArray[np.uint8]]:
    """Read a photograph once and turn boxes of it into network inputs.

    Args:
        source: as for `images.load_image`.
        boxes: as for `images.crop_box`.
        mode: as for `images.preprocess`.

    Returns:
        For each box an RGB uint8 array of (84, 84, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: as those three do, naming the source.
    """
    whole, name = _readable(source), describe_source(source)
    regions = [(box, clip_box(box, *_size(whole), name)) for box in boxes]
    return [_network_input(whole, region, mode, f"box {box} of {name}") for box, region in regions]


def _readable(source: ImageSource) -> _Whole:
    """Something to cut regions out of: of an array not even a copy is made."""
    if isinstance(source, np.ndarray):
        check_array(source, describe_source(source))
        return source
    return load_image(source)


def _network_input(whole: _Whole, region: _Region, mode: str, name: str) -> npt.NDArray[np.uint8]:
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    check_size(width, height, name)
    box = seen_box(width, height, mode)
    if isinstance(whole, np.ndarray) and (width, height) == (INPUT_SIZE, INPUT_SIZE):
        return np.array(whole[top:bottom, left:right], order="C")
    if min(width, height) < _LARGE:
        return preprocess(_cut(whole, region), mode)
    # A resized pixel sees its neighbours, too.
    across, down = (2 * (box[i + 2] - box[i]) / INPUT_SIZE for i in (0, 1))
    x0, y0 = max(math.floor(box[0] - across), 0), max(math.floor(box[1] - down), 0)
    x1, y1 = min(math.ceil(box[2] + across), width), min(math.ceil(box[3] + down), height)
    part = _cut(whole, (left + x0, top + y0, left + x1, top + y1))
    seen = (box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0)
    small = part.resize((INPUT_SIZE, INPUT_SIZE), Resampling.BILINEAR, box=seen, reducing_gap=_REDUCING_GAP)
    return np.array(small, dtype=np.uint8, order="C")


def _size(whole: _Whole) -> tuple[int, int]:
    return (whole.shape[1], whole.shape[0]) if isinstance(whole, np.ndarray) else whole.size


def _cut(whole: _Whole, region: _Region) -> PIL.Image.Image:
    if isinstance(whole, np.ndarray):
        left, top, right, bottom = region
        return _image(whole[top:bottom, left:right])
    return whole if region == (0, 0, *whole.size) else crop_box(whole, region)


def _image(part: npt.NDArray[np.uint8]) -> PIL.Image.Image:
    height, width, _ = part.shape
    row = part.strides[0]
    if part.strides[1:] != (3, 1) or row < 3 * width:
        return PIL.Image.fromarray(np.ascontiguousarray(part))
    # Pillow picks the part's rows out of the frame's own memory: no copy but its own, of four bytes a pixel.
    memory = np.lib.stride_tricks.as_strided(part, ((height - 1) * row + 3 * width,), (1,), writeable=False)
    return PIL.Image.frombuffer("RGB", (width, height), memory, "raw", "RGB", row, 1)
