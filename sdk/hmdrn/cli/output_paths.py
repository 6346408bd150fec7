"""Where a command writes what it was asked for, checked before the work."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import check_apart, check_folder_of, user_path


def output_place(path: Path, what: str, inputs: Iterable[str | os.PathLike[str]]) -> Path:
    """The file to write, where there is a place for it.

    Args:
        path: As the user gives it.
        what: What it is to be, for the message, e.g. "picture".
        inputs: What the command reads, files and folders; a bundle by its `bundle_path`.

    Raises:
        HmdrnError: Its folder is missing, it is a folder, or it would replace something that is read.
    """
    path = user_path(path, HmdrnError)
    check_folder_of(path, what, HmdrnError)
    if path.is_dir():
        raise HmdrnError(f"cannot write {what} {path}: it is a folder; give the path of a file")
    check_apart(path, what, [user_path(one, HmdrnError) for one in inputs], HmdrnError)
    return path


def photos_of(data: str | os.PathLike[str]) -> list[Path]:
    """What of a data set must not be replaced: its zip, or its folders of photos.

    A file beside these, such as the picture of an earlier run, is none of its photos.
    """
    folder = user_path(data, HmdrnError)
    with contextlib.suppress(OSError):
        return [one for one in folder.iterdir() if one.is_dir()]
    return [folder]
