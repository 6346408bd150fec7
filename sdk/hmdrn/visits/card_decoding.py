"""Decoding of a card's photos: the subjects that are named, and small pictures of them."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn.visits.card import CardPhoto
from hmdrn.watching.frames import Detector, Frame
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import MAX_PIXELS, load_image
from hmdrn_runtime.images.formats import open_image_file
from hmdrn_runtime.images.preprocessing import Box, Preprocessing, check_boxes
from hmdrn_runtime.images.query_preprocessing import prepare_query

KEPT_SIDE = 640
"""Pixels of the longer side of a picture that is kept in memory, and drawn from for a visit's pictures."""
_MIN_KEPT_SIDE = 480
"""Least longer side of a picture of a photo that is decoded in part."""
MAX_SUBJECTS = 10
"""Most subjects of a photo, the detector's first: they wait in memory to be named."""
_MIN_REDUCTION = 2
"""Least shorter side of a photo that is decoded in part, over `Preprocessing.resize`: the network's input
then differs as little from that of the whole photo as `prepare_query` promises."""


@dataclass(frozen=True, eq=False)
class CardSubject:
    """A subject of a photo.

    Attributes:
        pixels: The network's input, RGB uint8 (side, side, 3).
        image: Its picture in RGB, at most `KEPT_SIDE` pixels long.
        box: Its place, x0, y0, x1, y1 in pixels of the photo; None for the whole photo.
    """

    pixels: npt.NDArray[np.uint8]
    image: PIL.Image.Image
    box: Box | None = None


@dataclass(frozen=True, eq=False)
class DecodedPhoto:
    """A photo that is decoded once for everything that needs it.

    Attributes:
        photo: The photo.
        subjects: Its subjects: the whole photo, or what a detector found, perhaps nothing.
        error: The reason if it cannot be read, else "".
    """

    photo: CardPhoto
    subjects: tuple[CardSubject, ...] = ()
    error: str = ""


class PhotoDecoder:
    """Decodes photos, in any number of threads.

    Args:
        preprocessing: Makes the network's input.
        detector: Finds the subjects, of one photo at a time; None for the whole photo.
    """

    def __init__(self, preprocessing: Preprocessing, detector: Detector | None = None) -> None:
        self._preprocessing, self._detector = preprocessing, detector
        self._lock = threading.Lock()

    def decode(self, photo: CardPhoto) -> DecodedPhoto:
        """Decode a photo.

        Raises:
            HmdrnError: The detector cannot go on.
        """
        try:
            if self._detector is None:
                image = load_image(_open_reduced(photo.path, self._preprocessing))
                return DecodedPhoto(photo, (self._prepare(image, None),))
            # A subject is a part of the photo, and needs all of its pixels.
            frame = Frame(0, 0.0, photo.time.timestamp(), time.monotonic(), photo.path)
            _ = frame.image  # before the lock, and always: a damaged photo is not an empty one
            with self._lock:
                boxes = self._detector(frame)
            boxes = () if boxes is None else boxes
            check_boxes(boxes)
            return DecodedPhoto(photo, tuple(self._cut(frame, box) for box in boxes[:MAX_SUBJECTS]))
        except ImageError as error:
            return DecodedPhoto(photo, error=str(error))

    def _cut(self, frame: Frame, box: Box) -> CardSubject:
        image = frame.crop(box)
        x0, y0, x1, y1 = (float(side) for side in box)
        return self._prepare(image, (x0, y0, x1, y1))

    def _prepare(self, image: PIL.Image.Image, box: Box | None) -> CardSubject:
        pixels = prepare_query(image, self._preprocessing)
        image.thumbnail((KEPT_SIDE, KEPT_SIDE), PIL.Image.Resampling.BILINEAR, reducing_gap=2.0)
        return CardSubject(pixels, image, box)


def find_divisor(width: int, height: int, resize: int) -> int:
    """Return the largest divisor of a photo's sides that leaves enough pixels for all that is made of it."""
    if width * height > MAX_PIXELS:
        return 1
    for divisor in (8, 4, 2):
        # A rest would shift the picture by a part of a pixel.
        is_whole = width % divisor == 0 and height % divisor == 0
        has_detail = min(width, height) >= _MIN_REDUCTION * resize * divisor
        if is_whole and has_detail and max(width, height) >= _MIN_KEPT_SIDE * divisor:
            return divisor
    return 1


def _open_reduced(path: Path, preprocessing: Preprocessing) -> PIL.Image.Image | Path:
    """Return a large JPEG that decodes to a half, a quarter or an eighth, which is faster; else the path."""
    try:
        with open_image_file(path, str(path)) as stream:
            image = PIL.Image.open(io.BytesIO(stream.read()), formats=["JPEG"])
            divisor = find_divisor(image.width, image.height, preprocessing.resize)
            if divisor == 1 or image.mode != "RGB" or image.info.get("progressive"):
                return path
            image.draft("RGB", (image.width // divisor, image.height // divisor))
            image.load()
            return image
    except Exception:  # not a JPEG, or damaged: the ordinary way gives the reason
        return path
