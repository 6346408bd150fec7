"""Locks between processes, held while a file is read, changed and written."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hmdrn_runtime.credentials import mask_secrets
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error
from hmdrn_runtime.io.permissions import share_with_folder

LOCK_TIMEOUT = 30.0
"""Longest wait for another process, in seconds."""
_POLL_INTERVAL = 0.02
_MAX_COMMAND = 120
"""Characters of the holder's command that are named."""
_MAX_CONTENT = 4096

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

    Whoever may write in the file's folder may take the lock, whatever the umask of the process that made it.
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
            os.write(handle, _describe_process())
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()  # those who wait on this file see that it is gone and make a new one
        os.close(handle)


def _acquire(lock: Path) -> int | None:
    """Return a handle that holds the lock, or None while another process does."""
    try:
        handle = _open(lock)
    except PermissionError:
        if lock.exists():  # its maker has not shared it yet, or is gone; waiting decides
            return None
        raise
    if handle is None:
        return None
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


def _open(lock: Path) -> int | None:
    """Open the lock's file, made if it is missing; None if another process makes it right now."""
    # O_CREAT only where it is missing: Linux refuses it for files of others in folders such as /tmp.
    with contextlib.suppress(FileNotFoundError):
        try:
            return os.open(lock, os.O_RDWR)
        except PermissionError:
            return os.open(lock, os.O_RDONLY)  # enough to hold it, but not to leave a name in it
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    share_with_folder(lock)
    return handle


def _describe_process() -> bytes:
    program, *arguments = map(str, sys.argv or ["python"])
    path = Path(program)
    name = path.parent.name if path.name == "__main__.py" else path.name
    command = mask_secrets(" ".join([name, *arguments]))
    return json.dumps([os.getpid(), _host(), command[:_MAX_COMMAND]]).encode()


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _describe_holder(lock: Path) -> str:
    try:
        with lock.open("rb") as file:
            process, host, command = json.loads(file.read(_MAX_CONTENT))
        text = f"process {int(process)} on {host} ({command})"
    except PermissionError:
        return (
            f"a process of another user, whose lock {lock} cannot be read (delete it if that process is gone)"
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return "another process"
    if (process, host) == (os.getpid(), _host()):
        return "this very process"
    return "".join(c if c.isprintable() else "?" for c in text)
