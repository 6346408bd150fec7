"""A trail camera's card: its photos, and those that are new."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.images.capture_time import read_capture_time


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
