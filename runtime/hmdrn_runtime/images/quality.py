"""Photo quality for enrollment: sharpness, exposure and size, measured without the network.

The limits of sharpness and exposure were found on 510 photos of seven groups (birds, dogs, butterflies,
flowers, monkeys, fish), blurred or multiplied in brightness, at 84 x 84 pixels. Each limit flags under 1 %
of the unchanged photos. A Gaussian blur of 1.5 pixels is detected in over 90 % of the copies (of 1 pixel: in
half), an eighth of the light in 95 %, threefold light in over half. Those of size and duplicates were chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.capture_time import read_capture_time
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import Preprocessing, preprocess
from hmdrn_runtime.images.source import describe_source

MEASURED_SIDE = 84
"""Side in pixels that photos are measured at: the limits of sharpness were found at it."""
MIN_SHARPNESS = 0.03
"""Least variance of the Laplacian over the variance of the gray values."""
DARK_LEVEL, MAX_DARK_SHARE = 24, 0.6
"""Gray value below which a pixel is dark, and the largest share of such pixels."""
BRIGHT_LEVEL, MAX_BRIGHT_SHARE = 246, 0.45
"""Gray value above which a pixel is bright, and the largest share of such pixels."""
MIN_SOURCE_SIDE = 48
"""Fewest pixels of a source's shorter side."""
SKETCH_SIDE = 8
"""Side of the sketch that shows copies of a photo: too coarse to recognize anything on it."""
DUPLICATE_RMS = 3.0
"""Root mean square difference, in gray values, below which two photos are duplicates."""


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """A photo prepared for the network.

    Attributes:
        pixels: The network's input, RGB uint8 (side, side, 3).
        shorter_side: Pixels of the source's shorter side.
        name: The photo's name in messages.
        file_name: Name of its file, or its path; empty if it has none.
        taken: Time of capture in its EXIF (UTC); None if it has none.

    Examples:
        >>> import numpy as np
        >>> photo = hmdrn.PreparedPhoto(np.zeros((128, 128, 3), np.uint8), shorter_side=128)
        >>> photo.pixels.shape
        (128, 128, 3)
    """

    pixels: npt.NDArray[np.uint8]
    shorter_side: int
    name: str = ""
    file_name: str = ""
    taken: datetime | None = None


PhotoSource: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | PIL.Image.Image
    | npt.NDArray[np.uint8]
    | PreparedPhoto
)
"""An `ImageSource`, or a photo that is already prepared."""


def list_photos(photos: PhotoSource | Iterable[PhotoSource]) -> list[PhotoSource]:
    """Return one photo, or several, as a list; raises ImageError for other objects."""
    if isinstance(photos, np.ndarray):
        return list(photos) if photos.ndim == 4 else [photos]
    if isinstance(photos, PreparedPhoto | PIL.Image.Image | str | os.PathLike):
        return [photos]
    if isinstance(photos, bytes | bytearray | memoryview):
        return [photos]
    if not isinstance(photos, Iterable):
        raise ImageError(f"cannot read photos from {type(photos).__name__}: pass one photo or a list of them")
    return [*photos]


@dataclass(frozen=True)
class Quality:
    """Measurements of a photo.

    Attributes:
        sharpness: Variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) over the variance of the gray
            values, which makes it independent of the exposure; 0 for a plain image.
        dark: Share of nearly black pixels, 0-1.
        bright: Share of nearly white pixels, 0-1.
        shorter_side: Pixels of the source's shorter side.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> [photo] = birds.enroll("Laysan Albatross", "d.jpg").photos
        >>> photo.quality.shorter_side
        240
    """

    sharpness: float
    dark: float
    bright: float
    shorter_side: int

    @property
    def blurred(self) -> bool:
        """True if it has too little detail to tell species apart."""
        return self.sharpness < MIN_SHARPNESS

    @property
    def issues(self) -> tuple[str, ...]:
        """The photo's faults in words; empty for a good one."""
        faults = {
            f"too small ({self.shorter_side} pixels)": self.shorter_side < MIN_SOURCE_SIDE,
            "too dark": self.dark > MAX_DARK_SHARE,
            "blown out": self.bright > MAX_BRIGHT_SHARE,
            "blurred": self.blurred,
        }
        return tuple(fault for fault, present in faults.items() if present)


def prepare_photo(source: PhotoSource, preprocessing: Preprocessing, name: str = "") -> PreparedPhoto:
    """Read a photo and turn it into the network's input.

    Args:
        source: As for `decoding.load_image`; a prepared photo is returned unchanged.
        preprocessing: Mode and side.
        name: The photo's name in messages; a description of the source if empty.

    Raises:
        ImageError: As `preprocessing.prepare`.
    """
    if isinstance(source, PreparedPhoto):
        return source
    image = load_image(source)
    file_name = str(getattr(source, "filename", "") or "")
    if isinstance(source, str | os.PathLike):
        file_name = os.fsdecode(source)
    return PreparedPhoto(
        preprocess(image, preprocessing),
        min(image.size),
        name or describe_source(source),
        file_name,
        None if isinstance(source, np.ndarray) else read_capture_time(source),
    )


def measure_quality(photo: PreparedPhoto) -> Quality:
    """Measure a photo at `MEASURED_SIDE`."""
    pixels = photo.pixels
    if len(pixels) != MEASURED_SIDE:
        image = PIL.Image.fromarray(pixels)
        pixels = np.asarray(image.resize((MEASURED_SIDE, MEASURED_SIDE), PIL.Image.Resampling.BILINEAR))
    y = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])  # luminance of ITU-R BT.601, 0-255
    laplacian = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]
    return Quality(
        float(laplacian.var() / (y.var() + 1)),
        float((y < DARK_LEVEL).mean()),
        float((y > BRIGHT_LEVEL).mean()),
        photo.shorter_side,
    )


def draw_sketch(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a network input as `SKETCH_SIDE` x `SKETCH_SIDE` mean gray values, row by row."""
    gray = PIL.Image.fromarray(pixels).convert("L")
    return gray.resize((SKETCH_SIDE, SKETCH_SIDE), PIL.Image.Resampling.BOX).tobytes()


def is_near_duplicate(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> bool:
    """Return whether two network inputs are of one photo, saved twice or shot in one burst."""
    difference = first.astype(np.float64) - second
    return bool(np.sqrt((difference**2).mean()) < DUPLICATE_RMS)
