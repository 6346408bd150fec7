"""Connected regions of the foreground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn.watching.tracker import compute_iou
from hmdrn_runtime.images.preprocessing import Box

MIN_FILL = 0.2
"""Least share of its box that a region fills; thinner ones are edges that swayed."""

MIN_ASPECT = 0.9
"""Least length of a region's shorter side, as a share of the least longer one: streaks are edges, too."""


@dataclass(frozen=True)
class Blob:
    """A connected region of foreground.

    Attributes:
        box: x0, y0, x1, y1 in pixels.
        area: Number of pixels.
    """

    box: Box
    area: float


def find_blobs(cv2: Any, foreground: npt.NDArray[np.uint8], min_side: float) -> list[Blob]:
    """Find the regions of a foreground mask.

    Args:
        cv2: OpenCV.
        foreground: Mask, 0 or 255, of (height, width).
        min_side: Least length of a region's longer side, in pixels.

    Returns:
        The regions, the largest first. Parts that lie close together are one region.
    """
    speck = np.ones((2, 2), np.uint8)
    # MORPH_OPEN with an even kernel would move the mask by a pixel.
    opened = cv2.dilate(cv2.erode(foreground, speck, anchor=(1, 1)), speck, anchor=(0, 0))
    reach = max(3, round(min_side)) | 1
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    blobs = [
        Blob((float(x), float(y), float(x + width), float(y + height)), float(area))
        for x, y, width, height, area in stats[1:count]
        if max(width, height) >= min_side
        and min(width, height) >= MIN_ASPECT * min_side
        and area >= MIN_FILL * width * height
    ]
    return _merge(sorted(blobs, key=lambda blob: -blob.area))


def to_slices(box: Box, margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of a box with a margin, in whole pixels."""
    x0, y0, x1, y1 = (int(side) for side in box)
    return slice(max(0, y0 - margin), y1 + margin), slice(max(0, x0 - margin), x1 + margin)


def _merge(blobs: list[Blob]) -> list[Blob]:
    """Join regions whose widened boxes overlap: wings and legs belong to their body."""
    merged: list[Blob] = []
    for blob in blobs:
        for index, other in enumerate(merged):
            if compute_iou(_widen(blob.box), _widen(other.box)) > 0:
                (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = blob.box, other.box
                box = (min(ax0, bx0), min(ay0, by0), max(ax1, bx1), max(ay1, by1))
                merged[index] = Blob(box, blob.area + other.area)
                break
        else:
            merged.append(blob)
    return merged


def _widen(box: Box) -> Box:
    dx, dy = 0.1 * (box[2] - box[0]), 0.1 * (box[3] - box[1])
    return box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy
