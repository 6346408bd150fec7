"""Pictures and clips of visits as files, which their user alone can read."""

from __future__ import annotations

from pathlib import Path

from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error, write_atomically
from hmdrn_runtime.io.permissions import copy_permissions, open_private


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


def write_pictures(store: VisitStore, visit: Visit, folder: Path) -> list[Path]:
    """Write the pictures of a visit as files, which those can read that can read the diary.

    Args:
        store: The diary.
        visit: The visit.
        folder: Folder of the files, `<visit>-<n>.jpg`; made if missing.

    Raises:
        HmdrnError: The files cannot be written.
    """
    files = []
    try:
        for place, picture in enumerate(visit.pictures, 1):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{visit.id}-{place}.jpg"
            is_new = not path.exists()
            with open_private(path) as file:
                file.write(store.read_picture(picture.id))
            if is_new:
                copy_permissions(store.path, path)
            files.append(path)
    except OSError as error:
        raise HmdrnError(f"cannot write pictures into {folder}: {describe_os_error(error)}") from error
    return files
