"""Uploaded files as prepared photos by species, read as `hmdrn enroll` reads a folder or zip."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from hmdrn_runtime.datasets.dataset import Photo, open_species
from hmdrn_runtime.datasets.files import open_files
from hmdrn_runtime.errors import DatasetError, EnrollmentError, HmdrnError, ImageError
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.images.capture_time import read_capture_time
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.images.quality import PreparedPhoto, prepare_photo
from hmdrn_runtime.images.source import describe_source

MAX_PHOTOS = 1000
"""Most photos of one upload."""


@dataclass(frozen=True)
class Upload:
    """A file that a browser sent.

    Attributes:
        name: Its name there, any text; never used as a path.
        stream: Its content.
    """

    name: str
    stream: IO[bytes] = field(repr=False)

    @property
    def is_zip(self) -> bool:
        """Return True if the name ends with .zip."""
        return self.name.lower().endswith(".zip")


@dataclass
class ReadUploads:
    """Prepared photos of an upload.

    Attributes:
        species: Prepared photos by label.
        problems: A line for each file that cannot be used.
    """

    species: dict[str, list[PreparedPhoto]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_uploads(uploads: Sequence[Upload], label: str, preprocessing: Preprocessing) -> ReadUploads:
    """Prepare photos and zips.

    Args:
        uploads: The files. A zip holds a folder for each species, or with a label any photos of it.
        label: The species; empty if every file is a zip of species' folders.
        preprocessing: The bundle's.

    Raises:
        EnrollmentError: No file, a bad label, or photos without a label.
        DatasetError: A zip that cannot be used.
    """
    if not uploads:
        raise EnrollmentError("no photo was chosen: choose or drop at least one")
    if label.strip() or not all(upload.is_zip for upload in uploads):
        label = clean_label(label)
    result = ReadUploads()
    for upload in uploads:
        if upload.is_zip:
            with _store(upload, ".zip") as path:
                _read_zip(path, upload.name, label, preprocessing, result)
        else:
            _add(result, label, upload.name, upload.stream.read, preprocessing)
    return result


@contextmanager
def _store(upload: Upload, suffix: str) -> Iterator[Path]:
    """Write an upload into a file of a name of ours, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="hmdrn-studio-") as folder:
        path = Path(folder) / f"upload{suffix}"
        with path.open("wb") as file:
            while part := upload.stream.read(1 << 20):
                file.write(part)
        yield path


def _read_zip(path: Path, name: str, label: str, preprocessing: Preprocessing, result: ReadUploads) -> None:
    try:
        if label:
            _, files, listing = open_files(path)
            photos = [(label, Photo(member, member, files)) for member in sorted(listing.images)]
        else:
            dataset = open_species(path)
            photos = [(species, photo) for species, members in dataset.classes.items() for photo in members]
    except DatasetError as error:
        raise DatasetError(str(error).replace(describe_source(path), name)) from error
    for species, photo in photos:
        _add(result, species, photo.name, photo.read, preprocessing)


def _add(
    result: ReadUploads, label: str, name: str, read: Callable[[], bytes], preprocessing: Preprocessing
) -> None:
    if sum(map(len, result.species.values())) >= MAX_PHOTOS:
        raise EnrollmentError(f"more than {MAX_PHOTOS} photos at once: send them in several parts")
    try:
        photo = prepare_upload(read(), name, preprocessing)
        result.species.setdefault(clean_label(label), []).append(photo)
    except (ImageError, DatasetError) as error:
        result.problems.append(str(error))


def prepare_upload(data: bytes, name: str, preprocessing: Preprocessing) -> PreparedPhoto:
    """Prepare the bytes of a photo; raises ImageError with its name."""
    try:
        photo = prepare_photo(load_image(data), preprocessing, name)
    except ImageError as error:
        raise ImageError(str(error).replace(describe_source(data), name, 1)) from error
    return replace(photo, file_name=name, taken=read_capture_time(data))


@contextmanager
def stored_gallery(upload: Upload) -> Iterator[Path]:
    """Keep an uploaded gallery in a file for a while.

    Raises:
        HmdrnError: It is empty.
    """
    with _store(upload, ".gallery") as path:
        if not path.stat().st_size:
            raise HmdrnError("no gallery was chosen: choose a .gallery file")
        yield path
