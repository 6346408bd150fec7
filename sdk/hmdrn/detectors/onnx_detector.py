"""Subjects found by a network that the user brings."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmdrn.detectors.letterbox import Letterbox, fit_size
from hmdrn.detectors.onnx_session import OnnxSession
from hmdrn.detectors.yolo_outputs import decode_output, remove_duplicates
from hmdrn.watching.frames import Frame
from hmdrn_runtime.arguments import check_count, check_number
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import expand_path

MIN_SCORE = 0.25
"""Default least score of a box."""
MAX_OVERLAP = 0.45
"""Default most intersection over union of two subjects."""
MAX_SUBJECTS = 100
"""Most boxes of a frame, the surest."""
_LISTED = 12


class OnnxDetector:
    """Finds subjects with a YOLO network in ONNX; give it to `hmdrn.watch` as `boxes`.

    Networks are taken as ultralytics exports them with `format=onnx`: YOLOv5, YOLOv8, YOLO11 and others with
    their outputs, with or without NMS, FP32 or FP16, of fixed or dynamic size. It runs on a CUDA GPU if ONNX
    Runtime finds one, else on the CPU. hmdrn brings no network of this kind.

    Args:
        model: Path of the ONNX file.
        classes: Classes to keep, by their names in the network's metadata or by their numbers as text; all
            if None.
        min_score: Least score of a box, 0-1.
        max_overlap: Most intersection over union of two boxes, 0-1; of boxes that overlap more, the surest
            is kept.
        threads: CPU threads, at least 1; all cores if None.

    Attributes:
        names: The network's names of its classes by their numbers; empty if it has none.

    Raises:
        HmdrnError: The file is missing, is not such a network, does not have one of the classes, or a value
            is out of its range.
        BackendError: ONNX Runtime cannot load it.

    Examples:
        >>> detector = hmdrn.OnnxDetector("yolo.onnx", classes=["bird"])
        >>> for result in hmdrn.watch("default", "film.mp4", gallery="site7.gallery", boxes=detector):
        ...     boxes = [sighting.box for sighting in result.sightings]
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        min_score: float = MIN_SCORE,
        max_overlap: float = MAX_OVERLAP,
        threads: int | None = None,
    ) -> None:
        for name, value in (("min_score", min_score), ("max_overlap", max_overlap)):
            check_number(value, name, "give 0 to 1", valid=lambda number: 0 <= number <= 1)
        if threads is not None:
            check_count(threads, "threads", "give at least 1, or None for all cores")
        path = expand_path(model, HmdrnError)
        self._session = OnnxSession(path, threads)
        self._min_score, self._max_overlap = min_score, max_overlap
        self.names: dict[int, str] = self._session.metadata.names
        self._classes = None if classes is None else _find_classes(classes, self.names, path)

    def __call__(self, frame: Frame, /) -> list[Box]:
        """Return the boxes of the subjects in pixels of the frame, the surest first.

        Raises:
            ImageError: The frame cannot be read.
            BackendError: ONNX Runtime cannot run the network.
            HmdrnError: Its output has an unknown layout.
        """
        image, metadata = frame.image, self._session.metadata
        dynamic = fit_size(image.size, metadata.side, metadata.stride)
        width, height = (fixed or side for fixed, side in zip(self._session.size, dynamic, strict=True))
        letterbox = Letterbox(image.size, (width, height))
        output = self._session.run(letterbox.apply(image))
        classes = max(self.names, default=-1) + 1 or None
        detections = decode_output(output, classes, metadata.end_to_end)
        good = detections.scores >= self._min_score
        if self._classes is not None:
            good &= np.isin(detections.classes, self._classes)
        detections = remove_duplicates(detections.select(good), self._max_overlap)
        boxes = letterbox.restore(detections.boxes[:MAX_SUBJECTS]).tolist()
        return [(x0, y0, x1, y1) for x0, y0, x1, y1 in boxes if x0 < x1 and y0 < y1]


def _find_classes(wanted: Sequence[str], names: dict[int, str], model: Path) -> list[int]:
    numbers = {name: number for number, name in names.items()}
    chosen = []
    for name in wanted:
        if name in numbers:
            chosen.append(numbers[name])
        elif name.isdecimal() and (not names or int(name) in names):
            chosen.append(int(name))
        elif not names:
            raise HmdrnError(f"{model} does not name its classes: give their numbers instead of {name!r}")
        else:
            near = difflib.get_close_matches(name, numbers, 1)
            listed = ", ".join([*sorted(numbers)[:_LISTED], *(["..."] if len(numbers) > _LISTED else [])])
            hint = f"did you mean {near[0]!r}?" if near else f"it has {listed}"
            raise HmdrnError(f"{model} has no class {name!r}: {hint}")
    return chosen
