"""Paths from users, and atomic writes: a power cut leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.permissions import copy_permissions


def expand_path(path: str | os.PathLike[str], error: type[HmdrnError]) -> Path:
    """Expand the `~` of a user's path, and check that the file system accepts the path.

    Raises:
        HmdrnError: Of the type `error`: an unknown home, an overlong name, a forbidden folder.
    """
    try:
        expanded = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            expanded.stat()
    except (OSError, RuntimeError, ValueError, TypeError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{path} cannot be used as a path ({reason}): check it") from cause
    return expanded


def locate_state_folder(name: str) -> Path:
    """Return the folder NAME of this user's state: $XDG_STATE_HOME/hmdrn/NAME, or ~/.local/state/hmdrn/NAME.

    Raises:
        RuntimeError: The user has no home.
    """
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "hmdrn" / name


def check_parent_folder(path: Path, kind: str, error: type[HmdrnError]) -> None:
    """Raise `error` if the folder of a file to write, e.g. of kind "gallery", is missing or is a file."""
    folder = path.parent
    if not folder.exists():
        raise error(f"cannot write {kind} {path}: the folder {folder} does not exist; make it first")
    if not folder.is_dir():
        raise error(f"cannot write {kind} {path}: the folder {folder} is a file; give a path in a folder")


def check_not_input(
    path: Path, kind: str, inputs: Iterable[str | os.PathLike[str]], error: type[HmdrnError]
) -> None:
    """Raise `error` if a file to write, e.g. of kind "picture", is one of the inputs, or lies in one."""
    for source in map(Path, inputs):
        with contextlib.suppress(OSError):  # a missing file cannot be replaced
            inside = source.is_dir() and source.resolve() in path.resolve(strict=True).parents
            if inside or path.samefile(source):
                raise error(f"cannot write {kind} {path}: it would replace an input; give another name")


def describe_os_error(error: OSError) -> str:
    """Return the operating system's description of an error, without the path."""
    return error.strerror or str(error)


def write_atomically(
    path: Path,
    data: bytes | Iterable[bytes | memoryview],
    before_rename: Callable[[], None] = lambda: None,
    like: Path | None = None,
    mode: int = 0o666,
) -> None:
    """Replace a file: write and fsync a temporary file beside it, rename it, fsync the folder.

    The file keeps its mode and group, and its owner if this user is root.

    Args:
        path: The file.
        data: Its new content, or the pieces of it in order.
        before_rename: Called once the new content is safely on the disk, just before the rename.
        like: The file whose mode and group a new file gets; None for those that any new file gets.
        mode: Mode of a new file without `like`, less the umask.

    Raises:
        OSError: The folder is not writable, or the disk is full; `path` is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        model = path if like is None or path.exists() else like
        # Not readable by others before it is known who may read it.
        mode = 0o600 if model.exists() else mode
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
            copy_permissions(model, temporary)
            file.flush()
            os.fsync(file.fileno())
        before_rename()
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk where the platform and the file system support it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
