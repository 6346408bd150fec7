"""A lock between processes, held for as long as a file is read, changed and written."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import reason

WAIT = 30.0
"""Seconds that a process waits for another at most."""
_POLL = 0.02

if sys.platform == "win32":
    import msvcrt

    # Windows keeps others from reading what is locked: a byte far behind the holder's number is.
    _BYTE = 1 << 30

    def _try_lock(handle: int) -> None:
        os.lseek(handle, _BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_path(path: Path) -> Path:
    """The lock of a file; it is there only while a process holds it, or after one was killed."""
    return path.with_name(path.name + ".lock")


@contextmanager
def file_lock(path: Path, what: str, error: type[HmdrnError], wait: float = WAIT) -> Iterator[None]:
    """Keep other processes and threads from changing a file. The end of a process, however it ends, frees it.

    Args:
        path: The file, which need not exist; its folder must.
        what: What it is, for messages, e.g. "gallery".
        error: What to raise.
        wait: Seconds to wait for another holder.

    Raises:
        HmdrnError: Of the type `error`: another process holds the lock for all that time, or the lock
            cannot be made.
    """
    lock = lock_path(path)
    until = time.monotonic() + wait
    while True:
        try:
            handle = _locked(lock)
        except OSError as cause:
            raise error(
                f"cannot write {what} {path}: its lock {lock.name} cannot be made ({reason(cause)})"
            ) from cause
        if handle is not None:
            break
        if time.monotonic() > until:
            raise error(
                f"{what} {path} is being changed by {_holder(lock)}, for over {wait:g} s: try again when it "
                "is done, or end it"
            )
        time.sleep(_POLL)
    try:
        with contextlib.suppress(OSError):  # a full disk: then the holder stays nameless
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        # Whoever has waited for this file sees that it lost its name, and makes a new one.
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(handle)


def _locked(lock: Path) -> int | None:
    """A handle that holds the lock; None while another does."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _try_lock(handle)
        own, named = os.fstat(handle), lock.stat()
        if (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino):
            return handle
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass  # held by another, or let go of between our opening and our looking
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _holder(lock: Path) -> str:
    try:
        number = int(lock.read_text())
    except (OSError, ValueError):
        return "another process"
    return "this very process" if number == os.getpid() else f"process {number}"
