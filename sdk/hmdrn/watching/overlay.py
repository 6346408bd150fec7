"""Draw labels on frames, and show them as a video or in a window."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from hmdrn.fonts import draw_text, measure_text
from hmdrn.watching.opencv import encode_name, has_windows, open_cv2
from hmdrn.watching.results import Sighting, WatchResult
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import check_parent_folder, expand_path

_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
_COLORS = {"species": (46, 200, 60), "unknown": (240, 150, 30), "undecided": (160, 160, 160)}
_MIN_RATE = 1.0
"""Frames a second of a video at least; a polled camera may have fewer."""
_MAX_HOLD = 2.0
"""Most seconds of video that one frame stands for."""
_TITLE = "hmdrn watch"

Line: TypeAlias = tuple[str, int, tuple[int, int, int]]
"""A line of text with its size in pixels and its color."""


def draw_overlay(result: WatchResult) -> Image.Image:
    """Draw a frame with its boxes and smoothed labels, RGB."""
    image = result.frame.image.copy()
    draw_sightings(image, result.sightings)
    return image


def draw_sightings(
    image: Image.Image, sightings: Sequence[Sighting], reduction: int = 1, evidence: Sequence[str] = ()
) -> None:
    """Draw boxes and smoothed labels on a frame.

    Args:
        image: The frame, RGB; it is drawn on.
        sightings: The subjects.
        reduction: Sides of the frame as it was captured over those of the image.
        evidence: A second line for each subject; none if empty.
    """
    draw = ImageDraw.Draw(image)
    size = max(12, image.height // 24)
    for sighting, reason in zip(sightings, evidence or itertools.repeat(""), strict=False):
        smoothed = sighting.smoothed
        color = _COLORS[smoothed.state]
        text = smoothed.text
        if smoothed.probability is not None and smoothed.state == "species":
            text = f"{text}  {100 * smoothed.probability:.0f} %"
        lines = [(text, size, color)]
        if reason:
            lines.append((reason, max(11, 3 * size // 4), (255, 255, 255)))
        box = None if sighting.box is None else [side / reduction for side in sighting.box]
        if box is not None:
            draw.rectangle(box, outline=color, width=max(2, size // 8))
        _draw_label(draw, (0.0, 0.0) if box is None else (box[0], box[1]), lines, image.width)


def _draw_label(
    draw: ImageDraw.ImageDraw, corner: tuple[float, float], lines: Sequence[Line], limit: int
) -> None:
    """Draw lines of text above a box's corner, or in it at the frame's upper edge."""
    width = max(measure_text(text, size) + size // 2 for text, size, _ in lines)
    left = max(0.0, min(corner[0], limit - width))
    top = max(0.0, corner[1] - sum(1.4 * size for _, size, _ in lines))
    for text, size, color in lines:
        draw.rectangle((left, top, left + width, top + 1.4 * size), fill=(0, 0, 0))
        draw_text(draw, (left + size // 4, top + 0.1 * size), text, size, color)
        top += 1.4 * size


class OverlayVideo:
    """Writes frames as a video at the speed of the source.

    Args:
        path: The video, .mp4 or .avi.

    Raises:
        HmdrnError: The suffix is unknown, or the folder is missing.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = expand_path(path, HmdrnError)
        if self._path.suffix.lower() not in _CODECS or self._path.is_dir():
            raise HmdrnError(f"cannot write a video to {path}: give a file that ends with .mp4 or .avi")
        check_parent_folder(self._path, "video", HmdrnError)
        self._cv2 = open_cv2("writing a video")
        self._writer: Any = None
        self._size = (0, 0)
        self._written = 0
        self._shift = 0.0

    def add(self, result: WatchResult, rate: float) -> None:
        """Write a frame, once for each frame of the video since the last one; leave out a skipped frame.

        Args:
            result: The frame.
            rate: Frames a second of the source.

        Raises:
            HmdrnError: The video cannot be written.
        """
        if result.skipped:
            return
        image = draw_overlay(result)
        if self._writer is None:
            self._size, self._rate = image.size, max(rate, _MIN_RATE)
            codec = self._cv2.VideoWriter_fourcc(*_CODECS[self._path.suffix.lower()])
            self._writer = self._cv2.VideoWriter(encode_name(str(self._path)), codec, self._rate, image.size)
            if not self._writer.isOpened():
                raise HmdrnError(f"cannot write the video {self._path}: is the folder writable?")
            self._shift = result.frame.position
        if image.size != self._size:
            image = image.resize(self._size)
        due = round((result.frame.position - self._shift) * self._rate) + 1 - self._written
        limit = round(_MAX_HOLD * self._rate)
        if due > limit:  # an hour without frames does not become an hour of video
            self._shift += (due - limit) / self._rate
            due = limit
        for _ in range(max(1, due)):
            self._writer.write(_to_bgr(image))
            self._written += 1

    def close(self) -> None:
        """Finish the video."""
        if self._writer is not None:
            self._writer.release()


class OverlayWindow:
    """Shows frames in a window.

    Raises:
        HmdrnError: No display, or this build of OpenCV has no windows.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        self._cv2 = open_cv2("showing a window")
        if not has_windows(self._cv2):
            raise HmdrnError(
                "this build of OpenCV has no windows: install opencv-python in place of "
                "opencv-python-headless, or write a video with --overlay"
            )
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise HmdrnError("there is no display to show a window on: write a video with --overlay instead")

    def show(self, result: WatchResult) -> bool:
        """Show a frame.

        Returns:
            Whether to continue: False once q or Escape was pressed.
        """
        self._cv2.imshow(_TITLE, _to_bgr(draw_overlay(result)))
        return self._cv2.waitKey(1) & 0xFF not in (ord("q"), 27)

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyAllWindows()


def _to_bgr(image: Image.Image) -> Any:
    return np.asarray(image)[..., ::-1].copy()
