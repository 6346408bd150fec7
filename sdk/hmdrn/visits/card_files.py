"""The labeled photos of a card: as a table, and as copies or links in folders by species."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmdrn.visits.folders import name_folder
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Naming
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error
from hmdrn_runtime.progress import ProgressCallback

CSV_COLUMNS = (
    *("file", "time", "visit", "species", "known", "probability", "verdict"),
    *("photo_label", "photo_known", "photo_probability", "error"),
)


@dataclass(frozen=True)
class LabeledFile:
    """A photo that was labeled.

    Attributes:
        path: Its path in the card's folder, with slashes.
        species: The visit's species, "unknown" or "not a subject"; "" if it cannot be read, or its visit has
            been deleted.
        row: The values of `CSV_COLUMNS`.
    """

    path: str
    species: str
    row: tuple[Any, ...]


def list_files(store: VisitStore, folder: Path) -> Iterator[LabeledFile]:
    """Yield the labeled photos that are in a folder, by their time, with their visit's present name."""
    rows = store.query(
        "SELECT files.*, visits.label AS species, visits.known AS species_known, visits.verdict, "
        "visits.probability AS species_probability FROM files LEFT JOIN visits ON visits.id = files.visit "
        "ORDER BY files.time, files.path"
    )
    for row in rows:
        path = os.fsdecode(row["path"])
        try:
            status = (folder / path).stat()
        except OSError:
            continue
        if (status.st_size, status.st_mtime_ns) != (row["size"], row["modified"]):
            continue
        species = _find_species(row)
        values = (
            *(path, row["time"], row["visit"], species, row["species_known"]),
            *(row["species_probability"], row["verdict"], row["label"], row["known"]),
            *(row["probability"], row["error"]),
        )
        yield LabeledFile(path, species, values)


def _find_species(row: sqlite3.Row) -> str:
    if row["visit"] is not None:
        return Naming(row["species"], verdict=row["verdict"]).text
    # Without a visit, a photo cannot be read, was in one that was deleted, or shows nothing.
    is_empty = row["error"] is None and row["probability"] is None
    return Naming(verdict="not-a-subject").text if is_empty else ""


def sort_files(
    files: Sequence[LabeledFile],
    card: Path,
    target: Path,
    link: bool = False,
    report: ProgressCallback = lambda what, done, total: None,
) -> int:
    """Copy or link photos into a folder for each species, and return their number.

    A photo is named after its path on the card, `100/IMG_1.JPG` as `100-IMG_1.JPG`. One that is there already
    is left where it is, in any of the species' folders: an interrupted run can be repeated, and what a person
    has moved stays.

    Args:
        files: The photos.
        card: The card's folder.
        target: The folder to write into; made if missing.
        link: True to make symbolic links.
        report: Called with the progress.

    Raises:
        HmdrnError: A photo cannot be read or written.
    """
    readable = [file for file in files if file.species]
    present: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):
        for path in target.glob("*/*"):
            present.setdefault(path.name, []).append(path)
    for done, file in enumerate(readable, 1):
        source, name = card / file.path, file.path.replace("/", "-")
        destination = target / name_folder(file.species) / name
        try:
            if not any(_is_copy(path, source) for path in present.get(name, [])):
                destination.parent.mkdir(parents=True, exist_ok=True)
                _place(source, destination, link)
        except OSError as error:
            raise HmdrnError(
                f"cannot sort {source} into {destination.parent}: {describe_os_error(error)}; make "
                "room, and run it again"
            ) from error
        report("sorting", done, len(readable))
    return len(readable)


def _is_copy(path: Path, source: Path) -> bool:
    """Return whether a file is a copy of, or a link to, a photo."""
    try:
        if path.is_symlink():
            return path.resolve() == source.resolve()
        one, other = path.stat(), source.stat()
    except OSError:
        return False
    # File systems of cards keep times in steps of two seconds.
    return one.st_size == other.st_size and abs(one.st_mtime - other.st_mtime) <= 2


def _place(source: Path, destination: Path, link: bool) -> None:
    """Copy or link a file as a whole, or not at all."""
    temporary = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.part")
    try:
        if link:
            temporary.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, temporary)
            status = source.stat()
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        temporary.replace(destination)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
