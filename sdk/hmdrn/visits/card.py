"""A trail camera's card: its photos, those that are new, and the bursts that they were taken in."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.capture_time import read_capture_time
from hmdrn_runtime.images.decoding import MAX_PIXELS, load_image
from hmdrn_runtime.images.formats import open_image_file
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.images.query_preprocessing import prepare_query

KEPT_SIDE = 640
"""Pixels of the longer side of a photo that is kept in memory, and drawn from for a visit's pictures."""
_MIN_REDUCTION = 2
"""Least shorter side of a photo that is decoded in part, over `Preprocessing.resize`: the network's input
then differs as little from that of the whole photo as `prepare_query` promises."""
MAX_BURST_SECONDS = 600.0
"""Longest visit: a camera that takes a photo every few seconds all day does not make one of the day."""


@dataclass(frozen=True)
class CardPhoto:
    """A photo on the card.

    Attributes:
        path: The file.
        name: Its path in the card's folder, with slashes.
        size: Its bytes.
        modified: Time of its last change, in nanoseconds since 1970.
        time: Time of capture (UTC), by its EXIF, else of its last change.
        has_exif_time: Whether its EXIF has the time.
    """

    path: Path
    name: str
    size: int
    modified: int
    time: datetime
    has_exif_time: bool


@dataclass(frozen=True, eq=False)
class DecodedPhoto:
    """A photo that is decoded once for everything that needs it.

    Attributes:
        photo: The photo.
        pixels: The network's input, RGB uint8 (side, side, 3); None if it cannot be read.
        image: The photo in RGB, at most `KEPT_SIDE` pixels long; None if it cannot be read.
        error: The reason if it cannot be read, else "".
    """

    photo: CardPhoto
    pixels: npt.NDArray[np.uint8] | None
    image: PIL.Image.Image | None
    error: str = ""


def scan_card(
    folder: Path, seen: set[tuple[str, int, int]], executor: Executor
) -> tuple[list[CardPhoto], int]:
    """Return the photos of a folder and its subfolders by their time, and the number of those seen before.

    Args:
        folder: The card.
        seen: Name, size and time of the last change of the photos to leave out.
        executor: Reads the EXIF.

    Raises:
        DatasetError: The folder cannot be read.
    """
    new: list[tuple[Path, str, int, int]] = []
    count = 0
    for path in find_photos(folder):
        name = path.relative_to(folder).as_posix()
        try:
            status = path.stat()
        except OSError:  # a dead link: decoding says so
            new.append((path, name, 0, 0))
            continue
        if (name, status.st_size, status.st_mtime_ns) in seen:
            count += 1
        else:
            new.append((path, name, status.st_size, status.st_mtime_ns))
    times = executor.map(read_capture_time, [path for path, *_ in new])
    photos = [
        CardPhoto(*file, time or datetime.fromtimestamp(file[3] / 1e9, timezone.utc), time is not None)
        for file, time in zip(new, times, strict=True)
    ]
    return sorted(photos, key=lambda photo: (photo.time, photo.name)), count


def decode_photo(photo: CardPhoto, preprocessing: Preprocessing) -> DecodedPhoto:
    """Decode a photo: the network's input, and a small picture."""
    try:
        image = load_image(_open_reduced(photo.path, preprocessing))
        pixels = prepare_query(image, preprocessing)
    except ImageError as error:
        return DecodedPhoto(photo, None, None, str(error))
    image.thumbnail((KEPT_SIDE, KEPT_SIDE), PIL.Image.Resampling.BILINEAR, reducing_gap=2.0)
    return DecodedPhoto(photo, pixels, image)


def find_divisor(width: int, height: int, resize: int) -> int:
    """Return the largest divisor of a photo's sides that leaves enough pixels for all that is made of it."""
    if width * height > MAX_PIXELS:
        return 1
    for divisor in (8, 4, 2):
        # A rest would shift the picture by a part of a pixel.
        is_whole = width % divisor == 0 and height % divisor == 0
        has_detail = min(width, height) >= _MIN_REDUCTION * resize * divisor
        if is_whole and has_detail and max(width, height) >= KEPT_SIDE * divisor:
            return divisor
    return 1


def split_bursts(photos: Iterable[DecodedPhoto], gap: float) -> Iterator[list[DecodedPhoto]]:
    """Yield the bursts of photos that are sorted by time; photos without EXIF are by themselves.

    Args:
        photos: The photos.
        gap: Most seconds between two photos of one burst.
    """
    burst: list[DecodedPhoto] = []
    for decoded in photos:
        if burst and not _belongs(decoded.photo, burst[0].photo, burst[-1].photo, gap):
            yield burst
            burst = []
        burst.append(decoded)
    if burst:
        yield burst


def _belongs(photo: CardPhoto, first: CardPhoto, last: CardPhoto, gap: float) -> bool:
    seconds = (photo.time - last.time).total_seconds()
    length = (photo.time - first.time).total_seconds()
    # The times of files are of their copying, at which all were "taken" at once.
    return photo.has_exif_time and last.has_exif_time and seconds <= gap and length <= MAX_BURST_SECONDS


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
