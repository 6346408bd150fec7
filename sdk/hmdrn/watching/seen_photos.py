"""The photos of a hot folder that were answered, so that a restart does not repeat them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from pathlib import Path

from hmdrn_runtime.errors import SourceError
from hmdrn_runtime.io.files import check_parent_folder

STATE_NAME = ".hmdrn-seen.sqlite"
"""Name of the file in the folder that is followed; hidden, so never taken for a photo."""
_BUSY_SECONDS = 10.0


class SeenPhotos:
    """A SQLite file with the photos of a folder that were answered.

    A photo is known again by its bytes, so it may be renamed or moved. Its bytes are read only if its path,
    size and time are not known.

    Args:
        path: The file, made if it is missing.
        folder: The folder that is followed.

    Raises:
        SourceError: The file cannot be written, or is not such a file.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        check_parent_folder(path, "list of seen photos", SourceError)
        try:
            self._connection = sqlite3.connect(path, _BUSY_SECONDS, isolation_level=None)
            self._use_wal()
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS seen (path TEXT PRIMARY KEY, size INTEGER NOT NULL, "
                "modified INTEGER NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID"
            )
            self._connection.execute("CREATE INDEX IF NOT EXISTS seen_sha256 ON seen (sha256)")
        except sqlite3.Error as error:
            raise self._fail(error) from error

    def _use_wal(self) -> None:
        # While another connection does the same to a new file, SQLite answers "locked" without waiting.
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def __contains__(self, photo: Path) -> bool:
        """Return whether a photo was answered; False for one that cannot be read."""
        try:
            size, modified = read_stamp(photo)
            row = (self._name(photo), size, modified)
            query = "SELECT 1 FROM seen WHERE path = ? AND size = ? AND modified = ?"
            if self._connection.execute(query, row).fetchone():
                return True
            digest = _hash(photo)
            known = self._connection.execute("SELECT 1 FROM seen WHERE sha256 = ?", (digest,)).fetchone()
            if known:
                self._write(*row, digest)
        except OSError:
            return False
        except sqlite3.Error as error:
            raise self._fail(error) from error
        return known is not None

    def add(self, photo: Path) -> None:
        """Note that a photo was answered; nothing if it has gone by now.

        Raises:
            SourceError: The file cannot be written.
        """
        try:
            self._write(self._name(photo), *read_stamp(photo), _hash(photo))
        except OSError:
            return
        except sqlite3.Error as error:
            raise self._fail(error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _write(self, name: str, size: int, modified: int, digest: bytes) -> None:
        self._connection.execute("REPLACE INTO seen VALUES (?, ?, ?, ?)", (name, size, modified, digest))

    def _name(self, photo: Path) -> str:
        with contextlib.suppress(ValueError):
            photo = photo.relative_to(self._folder)
        return os.fsencode(photo).decode("utf-8", "backslashreplace")

    def _fail(self, error: sqlite3.Error) -> SourceError:
        return SourceError(
            f"cannot note the seen photos in {self._path} ({error}): give a file on a disk that can be "
            "written with --follow-state"
        )


def read_stamp(photo: Path) -> tuple[int, int]:
    """Return the size of a file in bytes and its last change in nanoseconds.

    Raises:
        OSError: The file is missing.
    """
    status = photo.stat()
    return status.st_size, status.st_mtime_ns


def _hash(photo: Path) -> bytes:
    return hashlib.sha256(photo.read_bytes()).digest()
