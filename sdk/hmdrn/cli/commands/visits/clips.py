"""Clips of visits as files."""

from __future__ import annotations

from pathlib import Path

from hmdrn.visits.store import VisitStore
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error, write_atomically


def write_clip(store: VisitStore, number: int, path: Path) -> None:
    """Write the clip of a visit as a file, which those can read that can read the diary: its user alone.

    Args:
        store: The diary.
        number: The visit.
        path: The file to write; its folder is made if missing.

    Raises:
        HmdrnError: The visit has no clip, or the file cannot be written.
    """
    clip = store.read_clip(number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, clip, like=store.path)
    except OSError as error:
        raise HmdrnError(f"cannot write the clip {path}: {describe_os_error(error)}") from error
