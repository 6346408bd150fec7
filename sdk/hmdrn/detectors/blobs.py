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

CORE_SHARE = 0.3
"""Least share of foreground in a row or column of a subject's core, of that in its fullest one."""
MAX_TRIM = 0.15
"""Most that is trimmed on each side, as a share of the box: tails are thin, too."""


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


def trim_box(foreground: npt.NDArray[np.uint8], box: Box) -> Box:
    """Return a region's box without the nearly empty rows and columns at its sides.

    They are blur, noise, or a leaf that touches the subject; in a crop they are only background.

    Args:
        foreground: Mask of the frame, above 0 where the region is.
        box: The region's box, in whole pixels of the mask.
    """
    part = foreground[to_slices(box)] > 0
    if not part.any():
        return box
    (x0, x1), (y0, y1) = (_find_core(part.sum(axis=axis)) for axis in (0, 1))
    return box[0] + x0, box[1] + y0, box[0] + x1, box[1] + y1


def find_fullest(foreground: npt.NDArray[np.uint8], box: Box, size: tuple[float, float]) -> Box:
    """Return the part of a region's box that has a size in pixels and holds the most foreground.

    Args:
        foreground: Mask of the frame, above 0 where the region is.
        box: The region's box, in whole pixels of the mask.
        size: Width and height of the part; a side that is not shorter than the box keeps its length.
    """
    part = foreground[to_slices(box)] > 0
    width, height = min(round(size[0]), part.shape[1]), min(round(size[1]), part.shape[0])
    if (height, width) == part.shape:
        return box
    sums = np.pad(part, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    counts = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    rows, columns = np.nonzero(counts == counts.max())
    x0, y0 = box[0] + round(columns.mean()), box[1] + round(rows.mean())
    return x0, y0, x0 + width, y0 + height


def to_slices(box: Box, margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of a box with a margin, in whole pixels."""
    x0, y0, x1, y1 = (int(side) for side in box)
    return slice(max(0, y0 - margin), y1 + margin), slice(max(0, x0 - margin), x1 + margin)


def _find_core(counts: npt.NDArray[np.integer]) -> tuple[int, int]:
    """Return the first and the end of the rows or columns that belong to the core."""
    full = np.flatnonzero(counts >= CORE_SHARE * counts.max())
    most = int(MAX_TRIM * len(counts))
    return min(int(full[0]), most), max(int(full[-1]) + 1, len(counts) - most)


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
