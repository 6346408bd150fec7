"""Outputs of YOLO networks as ultralytics exports them: boxes, scores and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.errors import HmdrnError

Float32 = npt.NDArray[np.float32]

MAX_END_TO_END = 300
"""Most rows of an output from which the network itself has removed duplicates."""
MAX_CANDIDATES = 3000
"""Most boxes, the surest, among which duplicates are looked for."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes that a network found in one input, in any order.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels of the input, float32 of (N, 4).
        scores: 0-1, float32 of (N,).
        classes: Numbers of the classes, int64 of (N,).
    """

    boxes: Float32
    scores: Float32
    classes: npt.NDArray[np.int64]

    def select(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Detections:
        """Return some of the detections."""
        return Detections(self.boxes[index], self.scores[index], self.classes[index])


def decode_output(output: npt.NDArray[np.floating], classes: int | None, end_to_end: bool) -> Detections:
    """Decode the first output of a network.

    Three layouts differ in their shape: (1, N, 5 + C) of YOLOv5, with the middle, width and height of
    a box, its objectness and C classes; (1, 4 + C, N) of YOLOv8 and later, without objectness; and (1, N, 6),
    N at most 300, of networks that remove duplicates themselves, with x0, y0, x1, y1, score and class.
    Columns behind the classes, such as those of masks, are ignored.

    Args:
        output: The output.
        classes: The number of classes, C; None if it is unknown.
        end_to_end: True if the network's metadata say that it removes duplicates itself.

    Raises:
        HmdrnError: The output has none of the layouts.
    """
    if output.ndim != 3 or output.shape[0] != 1 or min(output.shape) < 1:
        raise _unknown_layout(output)
    rows = output[0].astype(np.float32)
    layout = _find_layout(rows.shape[0], rows.shape[1], classes, end_to_end)
    if layout == "end-to-end":
        return Detections(rows[:, :4], rows[:, 4], rows[:, 5].round().astype(np.int64))
    if layout == "v8":
        rows = rows.T
        scores = rows[:, 4:]
    else:
        scores = rows[:, 5:] * rows[:, 4:5]
    if scores.shape[1] < (classes or 1):
        raise _unknown_layout(output, classes)
    scores = scores[:, :classes]
    best = scores.argmax(axis=1)
    middle, half = rows[:, :2], rows[:, 2:4] / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    return Detections(boxes, scores[np.arange(len(best)), best], best.astype(np.int64))


def _find_layout(
    rows: int, columns: int, classes: int | None, end_to_end: bool
) -> Literal["end-to-end", "v5", "v8"]:
    if (end_to_end and columns >= 6) or (columns == 6 and rows <= MAX_END_TO_END):
        return "end-to-end"
    if classes is not None and rows == 4 + classes:
        return "v8"
    if classes is not None and columns == 5 + classes:
        return "v5"
    return "v5" if columns < rows else "v8"


def remove_duplicates(detections: Detections, max_overlap: float) -> Detections:
    """Keep the surest of boxes that overlap, of whatever class: one subject has one box.

    Args:
        detections: The detections.
        max_overlap: Most intersection over union of two boxes that are both kept, 0-1.

    Returns:
        The boxes that are kept, the surest first.
    """
    order = np.argsort(-detections.scores, kind="stable")[:MAX_CANDIDATES]
    x0, y0, x1, y1 = detections.boxes[order].T
    areas = (x1 - x0) * (y1 - y0)
    waiting = np.arange(len(order))
    chosen = []
    while len(waiting):
        best, others = waiting[0], waiting[1:]
        chosen.append(best)
        width = np.minimum(x1[best], x1[others]) - np.maximum(x0[best], x0[others])
        height = np.minimum(y1[best], y1[others]) - np.maximum(y0[best], y0[others])
        common = np.maximum(width, 0) * np.maximum(height, 0)
        union = np.maximum(areas[best] + areas[others] - common, 1e-9)
        waiting = others[common <= max_overlap * union]
    return detections.select(order[np.array(chosen, np.int64)])


def _unknown_layout(output: npt.NDArray[np.floating], classes: int | None = None) -> HmdrnError:
    number = f" for {classes} classes" if classes else ""
    return HmdrnError(
        f"the detector's output has the shape {output.shape}{number}: expected (1, N, 5 + classes) of "
        "YOLOv5, (1, 4 + classes, N) of YOLOv8 and later, or (1, N, 6) of networks with NMS"
    )
