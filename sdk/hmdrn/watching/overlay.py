"""Frames with what was seen in them, as a film or in a window."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hmdrn.watching.opencv import has_windows, open_cv2
from hmdrn.watching.results import WatchResult
from hmdrn.watching.smoothing import Smoothed
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import check_folder_of, user_path

_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
_COLOURS = {"species": (46, 200, 60), "unknown": (240, 150, 30), "undecided": (160, 160, 160)}
_LONGEST_HOLD = 2.0
"""Seconds of film at most that one frame stands for."""
_TITLE = "hmdrn watch"


def draw(result: WatchResult) -> Image.Image:
    """A frame with its boxes and smoothed labels, RGB."""
    image = result.frame.image.copy()
    pen = ImageDraw.Draw(image)
    size = max(12, image.height // 24)
    font = ImageFont.load_default(size)
    for sighting in result.sightings:
        colour = _COLOURS[sighting.smoothed.state]
        left, top = 0.0, 0.0
        if sighting.box is not None:
            pen.rectangle(sighting.box, outline=colour, width=max(2, size // 8))
            left, top = max(0.0, sighting.box[0]), max(0.0, sighting.box[1] - 1.4 * size)
        text = _caption(sighting.smoothed)
        pen.rectangle((left, top, left + font.getlength(text) + size // 2, top + 1.4 * size), fill=(0, 0, 0))
        pen.text((left + size // 4, top + 0.1 * size), text, colour, font)
    return image


def _caption(smoothed: Smoothed) -> str:
    if smoothed.state == "species":
        return f"{smoothed.text}  {100 * smoothed.probability:.0f} %"
    return smoothed.text


class Film:
    """Writes frames as a film that runs as fast as what was watched.

    Args:
        path: The film, .mp4 or .avi.

    Raises:
        HmdrnError: The suffix is another, or its folder is missing.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = user_path(path, HmdrnError)
        if self._path.suffix.lower() not in _CODECS or self._path.is_dir():
            raise HmdrnError(f"cannot write a film to {path}: give a file that ends with .mp4 or .avi")
        check_folder_of(self._path, "film", HmdrnError)
        self._cv2 = open_cv2("writing a film")
        self._writer: Any = None
        self._size = (0, 0)
        self._written = 0
        self._shift = 0.0

    def add(self, result: WatchResult, rate: float) -> None:
        """Write a frame, for as many frames of the film as have passed since the one before.

        One that was passed over, and only tells what is gone, is left out.

        Args:
            result: The frame.
            rate: Frames a second of the source.

        Raises:
            HmdrnError: The film cannot be written.
        """
        if result.skipped:
            return
        image = draw(result)
        if self._writer is None:
            self._size, self._rate = image.size, rate
            codec = self._cv2.VideoWriter_fourcc(*_CODECS[self._path.suffix.lower()])
            self._writer = self._cv2.VideoWriter(str(self._path), codec, rate, image.size)
            if not self._writer.isOpened():
                raise HmdrnError(f"cannot write the film {self._path}: is the folder writable?")
            self._shift = result.frame.position
        if image.size != self._size:
            image = image.resize(self._size)
        pixels = np.asarray(image)[..., ::-1].copy()
        due = round((result.frame.position - self._shift) * self._rate) + 1 - self._written
        most = round(_LONGEST_HOLD * self._rate)
        if due > most:  # an hour without frames is no hour of film
            self._shift += (due - most) / self._rate
            due = most
        for _ in range(max(1, due)):
            self._writer.write(pixels)
            self._written += 1

    def close(self) -> None:
        """Finish the film."""
        if self._writer is not None:
            self._writer.release()


class Window:
    """Shows frames in a window.

    Raises:
        HmdrnError: There is no display, or this build of OpenCV has no windows.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        self._cv2 = open_cv2("showing a window")
        if not has_windows(self._cv2):
            raise HmdrnError(
                "this build of OpenCV has no windows: install opencv-python in place of "
                "opencv-python-headless, or write a film with --overlay"
            )
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise HmdrnError("there is no display to show a window on: write a film with --overlay instead")

    def show(self, result: WatchResult) -> bool:
        """Show a frame.

        Returns:
            Whether to go on: False once q or Escape was pressed.
        """
        self._cv2.imshow(_TITLE, np.asarray(draw(result))[..., ::-1].copy())
        return self._cv2.waitKey(1) & 0xFF not in (ord("q"), 27)

    def close(self) -> None:
        """Close it."""
        self._cv2.destroyAllWindows()
