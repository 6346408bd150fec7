"""The live picture: drawn small, encoded once for all viewers, and only when one of them looks."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import PIL.Image
import PIL.ImageDraw

from hmdrn.watching.frames import Frame
from hmdrn.watching.opencv import open_cv2
from hmdrn.watching.overlay import draw_sightings
from hmdrn.watching.results import WatchResult
from hmdrn_runtime.errors import ImageError, MissingDependencyError
from hmdrn_runtime.images.preprocessing import Box

MAX_RATE = 15.0
"""Pictures a second at most."""
MAX_SIDE = 1280
"""Longer side of a picture in pixels at most."""


class LivePicture:
    """The last frame with boxes, names and evidence.

    The thread that names frames only passes them on. A viewer's thread draws, and all share its picture.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        """Held while a picture is drawn, but never by the thread that names."""
        self._shown: tuple[WatchResult, Sequence[str]] | None = None
        self._region: Box | None = None
        self._drawn: tuple[object, object] = (None, None)
        """The frame and region of the last picture."""
        self._slot = -1
        self._jpeg: tuple[int, bytes] = (0, b"")

    def show(self, result: WatchResult, evidence: Sequence[str]) -> None:
        """Take a frame, with a line of evidence for each of its subjects, in place of the one before."""
        self._shown = result, evidence

    def outline(self, region: Box | None) -> None:
        """Draw another region from now on, over the present frame too; in pixels of the frame."""
        self._region = region

    def look(self) -> tuple[int, bytes]:
        """Return the number of the last picture and its JPEG; 0 and nothing before the first frame.

        Of the frames between two pictures the newest is drawn; at most `MAX_RATE` pictures a second are.
        """
        with self._lock:
            shown, region, slot = self._shown, self._region, int(time.monotonic() * MAX_RATE)
            is_new = shown is not self._drawn[0] or region is not self._drawn[1]
            if shown is not None and is_new and slot != self._slot:
                self._slot, self._drawn = slot, (shown, region)
                with contextlib.suppress(ImageError):  # the file of a photo is gone
                    self._jpeg = self._jpeg[0] + 1, _draw(*shown, region)
            return self._jpeg


def _draw(result: WatchResult, evidence: Sequence[str], region: Box | None) -> bytes:
    """Return a frame as JPEG, reduced before anything is drawn on it."""
    image, reduction = _reduce(result.frame)
    draw_sightings(image, result.sightings, reduction, evidence)
    if region is not None:
        _draw_region(image, [side / reduction for side in region])
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def _reduce(frame: Frame) -> tuple[PIL.Image.Image, int]:
    """Return a frame with sides divided by a whole number, and the number."""
    if isinstance(frame.pixels, Path):
        reduction = -(-max(frame.image.size) // MAX_SIDE)
    else:
        height, width = frame.pixels.shape[:2]
        reduction = -(-max(width, height) // MAX_SIDE)
        with contextlib.suppress(MissingDependencyError):
            # Before the conversion to RGB, which then costs less; a third of the time of Pillow's.
            cv2 = open_cv2("reducing a frame")
            size = -(-width // reduction), -(-height // reduction)
            pixels = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
            return replace(frame, pixels=pixels).image, reduction
    return frame.image.copy() if reduction == 1 else frame.image.reduce(reduction), reduction


def _draw_region(image: PIL.Image.Image, region: Sequence[float]) -> None:
    """Draw a white line in a black one, to be seen on any ground."""
    draw, width = PIL.ImageDraw.Draw(image), max(1, image.height // 240)
    x0, y0, x1, y1 = region
    draw.rectangle((x0, y0, x1, y1), outline=(0, 0, 0), width=3 * width)
    draw.rectangle((x0 + width, y0 + width, x1 - width, y1 - width), outline=(255, 255, 255), width=width)
