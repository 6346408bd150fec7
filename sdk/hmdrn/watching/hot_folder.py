"""A folder that new photos come into."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from hmdrn.watching.seen_photos import SeenPhotos, read_stamp
from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.errors import DatasetError, ImageError, SourceError
from hmdrn_runtime.images.decoding import load_image

SCAN_SECONDS = 1.0
"""Seconds between two looks into the folder; a file that changed between them is still being written."""
SETTLED_SECONDS = 60.0
"""Age of a file from which it is complete; a younger one must also be decoded once."""
PATIENCE_SECONDS = 10.0
"""Seconds without a change after which a file that cannot be decoded is given out as damaged."""
_POLL_SECONDS = 0.1
_MAX_FAILURES = 5
"""Looks in a row that may fail: a subfolder may vanish meanwhile."""


class HotFolderCapture:
    """Photos of a folder and its subfolders, those that are there and those that come, each once.

    A photo is given out when it is complete: two looks find the same size and time, and it can be decoded.

    Args:
        folder: The folder.
        state: File of the photos that were answered.
        is_closed: Returns True when reading must end.

    Attributes:
        rate: Photos a second at which a folder is played.
        frames: 0: their number is unknown.

    Raises:
        SourceError: The file of the answered photos cannot be used.
    """

    rate: float = 1.0
    frames: int = 0

    def __init__(self, folder: Path, state: Path, is_closed: Callable[[], bool]) -> None:
        self._folder, self._is_closed = folder, is_closed
        self._seen = SeenPhotos(state, folder)
        self._ready: deque[Path] = deque()
        self._stamps: dict[Path, tuple[int, int]] = {}
        """Photos that were given out or are known, as they were then."""
        self._waiting: dict[Path, tuple[tuple[int, int], float]] = {}
        """Photos that may still be written: their size and time, and since when these are the same."""
        self._failures = 0

    def read(self) -> Path | None:
        """Wait for the next photo and return its path; None when reading must end.

        Raises:
            SourceError: The folder cannot be read.
        """
        while not self._ready:
            self._scan()
            until = time.monotonic() + SCAN_SECONDS
            while not self._ready and time.monotonic() < until:
                if self._is_closed():
                    return None
                time.sleep(_POLL_SECONDS)
        return self._ready.popleft()

    def close(self) -> None:
        """Close the file of the answered photos."""
        self._seen.close()

    def _scan(self) -> None:
        """Look into the folder once."""
        try:
            photos = find_photos(self._folder)
        except DatasetError as error:
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                raise SourceError(str(error)) from error
            return
        self._failures = 0
        present = set(photos)
        self._waiting = {photo: value for photo, value in self._waiting.items() if photo in present}
        self._stamps = {photo: value for photo, value in self._stamps.items() if photo in present}
        for photo in photos:
            if self._is_closed():
                return
            if self._is_ready(photo):
                self._ready.append(photo)

    def _is_ready(self, photo: Path) -> bool:
        """Return whether a photo is new and complete, and note what was found."""
        try:
            stamp = read_stamp(photo)
        except OSError:
            return False
        if self._stamps.get(photo) == stamp:
            return False
        if abs(time.time() - stamp[1] / 1e9) < SETTLED_SECONDS and not self._is_complete(photo, stamp):
            return False
        self._waiting.pop(photo, None)
        self._stamps[photo] = stamp
        return photo not in self._seen

    def _is_complete(self, photo: Path, stamp: tuple[int, int]) -> bool:
        now = time.monotonic()
        previous, since = self._waiting.get(photo, (None, now))
        if previous != stamp:
            self._waiting[photo] = stamp, now
            return False
        return now - since >= PATIENCE_SECONDS or _can_be_decoded(photo)


def _can_be_decoded(photo: Path) -> bool:
    try:
        load_image(photo)
    except ImageError:
        return False
    return True
