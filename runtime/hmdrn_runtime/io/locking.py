"""Locks between processes, held while a file is read, changed and written."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error

LOCK_TIMEOUT = 30.0
"""Longest wait for another process, in seconds."""
_POLL_INTERVAL = 0.02

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 1 << 30  # far behind the process number, which Windows would make unreadable

    def _try_lock(handle: int) -> None:
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_path(path: Path) -> Path:
    """Return the path of a file's lock, which exists while a process holds it or after that was killed."""
    return path.with_name(path.name + ".lock")


@contextmanager
def file_lock(
    path: Path, kind: str, error: type[HmdrnError], timeout: float = LOCK_TIMEOUT
) -> Iterator[None]:
    """Keep other processes and threads from changing a file; the lock ends with its process.

    (The package filelock does not name the holder.)

    Args:
        path: The file. It need not exist, but its folder must.
        kind: The kind of file for messages, e.g. "gallery".
        error: The type of error to raise.
        timeout: Longest wait for another holder, in seconds.

    Raises:
        HmdrnError: Of the type `error`: another process holds the lock for all that time, or the lock
            cannot be made.
    """
    lock, deadline = lock_path(path), time.monotonic() + timeout
    try:
        while (handle := _acquire(lock)) is None:
            if time.monotonic() > deadline:
                raise error(
                    f"{kind} {path} is being changed by {_describe_holder(lock)}, for over {timeout:g} s: "
                    "try again when it is done, or end it"
                )
            time.sleep(_POLL_INTERVAL)
    except OSError as cause:
        reason = describe_os_error(cause)
        raise error(f"cannot write {kind} {path}: its lock {lock.name} cannot be made ({reason})") from cause
    try:
        with contextlib.suppress(OSError):  # on a full disk the holder stays unnamed
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()  # those who wait on this file see that it is gone and make a new one
        os.close(handle)


def _acquire(lock: Path) -> int | None:
    """Return a handle that holds the lock, or None while another process does."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _try_lock(handle)
        if os.path.samestat(os.fstat(handle), lock.stat()):
            return handle
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass  # held by another process, or deleted since it was opened
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _describe_holder(lock: Path) -> str:
    try:
        number = int(lock.read_text())
    except (OSError, ValueError):
        return "another process"
    return "this very process" if number == os.getpid() else f"process {number}"
