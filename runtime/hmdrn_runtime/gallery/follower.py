"""Noticing the changes that other processes make to a gallery's file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hmdrn_runtime.device.forking import repair_after_fork
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.gallery.file_format import read_header
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import check_network
from hmdrn_runtime.gallery.state import FileStamp
from hmdrn_runtime.io.files import expand_path

INTERVAL = 0.1
"""Seconds between two looks at the file, each of which asks for its time, size and number only."""
RETRY = 1.0
"""Seconds until a file that could not be read is tried again, even if it looks unchanged."""


class GalleryFollower:
    """Hands on the states of a gallery's file that other processes write. Any thread may call `check`.

    Args:
        gallery: The gallery that was read from the file, or written to it.
        path: The file.
        adopt: Merges the file's new state with the gallery's, given the last one that both had. The new one
            counts as seen unless it raises a GalleryError.
        report: Called with a message when the file cannot be used, once until it can be used again.
    """

    def __init__(
        self,
        gallery: Gallery,
        path: str | os.PathLike[str],
        adopt: Callable[[FileStamp | None, FileStamp], None],
        report: Callable[[str], object],
    ) -> None:
        self._gallery, self._adopt, self._report = gallery, adopt, report
        self._path = expand_path(path, GalleryError)
        self._seen: tuple[int, int, int] | None = None
        self._next = 0.0
        self._failed = False
        self.after_fork()
        repair_after_fork(self)

    def after_fork(self) -> None:
        """Make the lock, anew in a forked process."""
        self._lock = threading.Lock()

    def check(self) -> None:
        """Look at the file if the last look is long enough ago, and no other thread is at it."""
        if time.monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = time.monotonic() + INTERVAL
            seen = _read_identity(self._path)
            if seen != self._seen or seen is None:
                self._read()
                self._seen, self._failed = seen, False
        except GalleryError as error:
            self._seen, self._next = None, time.monotonic() + RETRY
            if not self._failed:
                self._failed = True
                self._report(f"the gallery stays as it is, as its file cannot be used: {error}")
        finally:
            self._lock.release()

    def _read(self) -> None:
        path = self._path.resolve()  # now: a link may lead elsewhere than before
        known, header = self._gallery.files.get(path), read_header(path)
        if header is not None and known is not None and header.checksum == known.checksum:
            return  # written by this process
        theirs = load_gallery(path)
        check_network(self._gallery.network, theirs.network, f"gallery {path}")
        self._adopt(known, theirs.files[path])
        if self._gallery.files.get(path) is known:  # else another thread has saved it meanwhile
            self._gallery.files[path] = theirs.files[path]


def _read_identity(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with a file's content: time in ns, size, number; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
