"""Writing files so that a power cut leaves the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from hmdrn_runtime.errors import HmdrnError


def user_path(path: str | os.PathLike[str], error: type[HmdrnError]) -> Path:
    """A path as a user gives it: `~` expanded, and fit to ask the file system about.

    Raises:
        HmdrnError: Of the type `error`: no such home, too long a name, a forbidden folder.
    """
    try:
        expanded = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            expanded.stat()
    except (OSError, RuntimeError, ValueError, TypeError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{path} cannot be used as a path ({reason}): check it") from cause
    return expanded


def check_folder_of(path: Path, what: str, error: type[HmdrnError]) -> None:
    """Refuse a place to write a file to whose folder is not there, before any work is done for the file.

    Args:
        path: The file.
        what: What it is to be, for the message, e.g. "gallery".
        error: What to raise.

    Raises:
        HmdrnError: Of the type `error`: the folder is missing, or is a file.
    """
    folder = path.parent
    if folder.is_dir():
        return
    found = "is a file" if folder.exists() else "does not exist"
    advice = "give a path in a folder" if folder.exists() else "make it first"
    raise error(f"cannot write {what} {path}: the folder {folder} {found}; {advice}")


def check_apart(
    path: Path, what: str, inputs: Iterable[str | os.PathLike[str]], error: type[HmdrnError]
) -> None:
    """Refuse to write a file over something that is read.

    Args:
        path: The file.
        what: What it is to be, for the message, e.g. "picture".
        inputs: Files, and folders none of whose files may be replaced.
        error: What to raise.

    Raises:
        HmdrnError: Of the type `error`: the file is one of them, or lies in one of them.
    """
    for read in map(Path, inputs):
        with contextlib.suppress(OSError):  # what is missing cannot be overwritten
            if path.samefile(read) or (read.is_dir() and read.resolve() in path.resolve(strict=True).parents):
                raise error(f"cannot write {what} {path}: it would replace what is read; give another name")


def reason(error: OSError) -> str:
    """What the operating system says of an error, without the path, which the message names already."""
    return error.strerror or str(error)


def write_atomically(
    path: Path, data: bytes | Iterable[bytes | memoryview], before: Callable[[], None] = lambda: None
) -> None:
    """Replace `path` by `data`: temporary file beside it, fsync, rename, fsync of the folder.

    Args:
        path: The file.
        data: Its new content, or pieces of it in their order.
        before: Called when the new content is safe on the disk, just before it takes the name.

    Raises:
        OSError: The folder cannot be written or is full; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            for piece in (data,) if isinstance(data, bytes) else data:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        before()
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, where platform and file system can; elsewhere do nothing."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
