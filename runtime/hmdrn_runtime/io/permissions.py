"""Modes, groups and owners of files that several users of a machine share."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

_GROUP, _EVERYBODY = 0o070, 0o007


def copy_permissions(source: Path, target: Path) -> None:
    """Give a file or folder the mode and group of another, and its owner as far as this user may.

    If the group cannot be given, the present one gets the rights of everybody and no more. Does nothing if
    the source is missing; permissions that the file system does not have are left out.
    """
    try:
        status, present = source.stat(), target.stat()
    except OSError:
        return
    mode = stat.S_IMODE(status.st_mode)
    if not _change_owner(target, status.st_uid, status.st_gid) and present.st_gid != status.st_gid:
        mode = mode & ~_GROUP | (mode & _EVERYBODY) << 3
    with contextlib.suppress(OSError):
        target.chmod(mode)


def open_private(path: Path) -> BinaryIO:
    """Open a file to be written; a new one can be read by its user alone.

    Raises:
        OSError: The file cannot be written.
    """
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))


def share_with_folder(path: Path) -> None:
    """Let everybody read and write a file who may write in its folder."""
    with contextlib.suppress(OSError):
        folder = path.parent.stat()
        _change_owner(path, folder.st_uid, folder.st_gid)
        path.chmod(0o600 | folder.st_mode & 0o066)


def _change_owner(path: Path, user: int, group: int) -> bool:
    """Give a file to a user and group, or at least to the group; return whether the group was given."""
    if not hasattr(os, "chown"):  # Windows
        return True
    for owner in (user, -1):  # only root may give files away
        with contextlib.suppress(OSError):
            os.chown(path, owner, group)
            return True
    return False
