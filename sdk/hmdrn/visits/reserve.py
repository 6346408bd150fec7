"""Room on the disk that is kept for visits without pictures."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

RESERVE_BYTES = 1 << 20
"""Bytes that are kept: enough for the log of SQLite, and for over a thousand visits without pictures."""


class Reserve:
    """A file beside the diary, deleted when the disk is full; other programs cannot use its room.

    Args:
        path: The diary.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".reserve")
        self.fill()

    @property
    def has_room(self) -> bool:
        """True if the disk has room for pictures, and for the reserve itself."""
        with contextlib.suppress(OSError):
            return shutil.disk_usage(self._path.parent).free > 2 * RESERVE_BYTES
        return False

    def fill(self) -> None:
        """Make the file; without room there is none."""
        try:
            self._path.touch(0o600)
            self._path.write_bytes(os.urandom(RESERVE_BYTES))  # file systems that compress keep no zeros
        except OSError:
            self.release()

    def release(self) -> None:
        """Delete the file."""
        with contextlib.suppress(OSError):
            self._path.unlink()
