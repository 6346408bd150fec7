"""Paths that a command writes to, checked before the work."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import check_not_input, check_parent_folder, expand_path


def check_output_path(
    path: Path, kind: str, inputs: Iterable[str | os.PathLike[str]] = (), suffixes: tuple[str, ...] = ()
) -> Path:
    """Return the path of a file to write, with `~` expanded; `kind` names it in errors, e.g. "picture".

    Raises:
        HmdrnError: Its folder is missing, it is a folder, it would replace an input (a file, or one in a
            folder), or its suffix is not one of `suffixes`, if there are any.
    """
    path = expand_path(path, HmdrnError)
    if path.is_dir():
        raise HmdrnError(f"cannot write {kind} {path}: it is a folder; give the path of a file")
    check_parent_folder(path, kind, HmdrnError)
    check_not_input(path, kind, [expand_path(item, HmdrnError) for item in inputs], HmdrnError)
    if suffixes and path.suffix.lower() not in suffixes:
        raise HmdrnError(f"cannot write {kind} {path}: give a file that ends with {' or '.join(suffixes)}")
    return path


def list_dataset_paths(data: str | os.PathLike[str]) -> list[Path]:
    """Return the paths of a data set that must not be replaced: its zip, or its folders of photos.

    A file beside these folders, such as the picture of an earlier run, is not one of them.
    """
    folder = expand_path(data, HmdrnError)
    with contextlib.suppress(OSError):
        return [path for path in folder.iterdir() if path.is_dir()]
    return [folder]
