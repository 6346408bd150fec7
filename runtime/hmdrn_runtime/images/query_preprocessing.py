"""Faster preparation of photos that are only classified.

Only the part that the network will see is read, and a large one is averaged over whole pixels before it is
resized. The results are within 1 of 255 on average of `preprocessing.prepare`, but not bit-identical: photos
to enroll use that function, whose result identifies a photo.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from hmdrn_runtime.images.decoding import ImageSource, check_array, check_size, load_image
from hmdrn_runtime.images.preprocessing import (
    Boxes,
    Preprocessing,
    check_boxes,
    clip_box,
    crop_box,
    find_visible_box,
    preprocess,
)
from hmdrn_runtime.images.source import describe_source

_MIN_REDUCTION = 4
"""Shorter side of a region over `resize`, from which it is averaged by a whole number first."""
_REDUCING_GAP = 1.5
"""Size of an averaged region over that of the input; at 1, differences exceed 1 of 255."""

_Frame: TypeAlias = PIL.Image.Image | npt.NDArray[np.uint8]
_Region: TypeAlias = tuple[int, int, int, int]


def prepare_query(source: ImageSource, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Read a photo and turn it into the network's input: a new contiguous RGB uint8 (size, size, 3).

    See `preprocessing.prepare` for the arguments and the errors.
    """
    frame, name = _load_frame(source), describe_source(source)
    return _prepare_region(frame, (0, 0, *_size(frame)), preprocessing, name)


def prepare_boxes(
    source: ImageSource, boxes: Boxes, preprocessing: Preprocessing
) -> list[npt.NDArray[np.uint8]]:
    """Read a photo once and turn boxes of it into network inputs, each as of `prepare_query`.

    See `preprocessing.crop_box` for the boxes.

    Raises:
        ImageError: As `preprocessing.prepare` and `crop_box`, naming the source.
    """
    check_boxes(boxes)
    frame, name = _load_frame(source), describe_source(source)
    regions = [(box, clip_box(box, *_size(frame), name)) for box in boxes]
    return [_prepare_region(frame, region, preprocessing, f"box {box} of {name}") for box, region in regions]


def _load_frame(source: ImageSource) -> _Frame:
    """Return something to cut regions out of; an array is not even copied."""
    if isinstance(source, np.ndarray):
        check_array(source, describe_source(source))
        return source
    return load_image(source)


def _prepare_region(
    frame: _Frame, region: _Region, preprocessing: Preprocessing, name: str
) -> npt.NDArray[np.uint8]:
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    check_size(width, height, name)
    side, visible = preprocessing.side, find_visible_box(width, height, preprocessing)
    if isinstance(frame, np.ndarray) and (width, height) == (side, side):
        return np.array(frame[top:bottom, left:right], order="C")
    if min(width, height) < _MIN_REDUCTION * preprocessing.resize:
        return preprocess(_cut(frame, region), preprocessing)
    # A resized pixel depends on its neighbors, too: keep a margin around the visible part.
    margin_x, margin_y = (2 * (visible[i + 2] - visible[i]) / side for i in (0, 1))
    x0, y0 = max(math.floor(visible[0] - margin_x), 0), max(math.floor(visible[1] - margin_y), 0)
    x1, y1 = min(math.ceil(visible[2] + margin_x), width), min(math.ceil(visible[3] + margin_y), height)
    part = _cut(frame, (left + x0, top + y0, left + x1, top + y1))
    box = (visible[0] - x0, visible[1] - y0, visible[2] - x0, visible[3] - y0)
    small = part.resize((side, side), Resampling.BILINEAR, box=box, reducing_gap=_REDUCING_GAP)
    return np.array(small, dtype=np.uint8, order="C")


def _size(frame: _Frame) -> tuple[int, int]:
    return (frame.shape[1], frame.shape[0]) if isinstance(frame, np.ndarray) else frame.size


def _cut(frame: _Frame, region: _Region) -> PIL.Image.Image:
    if not isinstance(frame, np.ndarray):
        return frame if region == (0, 0, *frame.size) else crop_box(frame, region)
    left, top, right, bottom = region
    part = frame[top:bottom, left:right]
    height, width, _ = part.shape
    row = part.strides[0]
    if part.strides[1:] != (3, 1) or row < 3 * width:
        return PIL.Image.fromarray(np.ascontiguousarray(part))
    # Pillow reads the part's rows in the frame's own memory: the only copy is its own, of 4 bytes per pixel.
    memory = np.lib.stride_tricks.as_strided(part, ((height - 1) * row + 3 * width,), (1,), writeable=False)
    return PIL.Image.frombuffer("RGB", (width, height), memory, "raw", "RGB", row, 1)
