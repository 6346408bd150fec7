"""Uploaded files as prepared photos by species, read as `hmdrn enroll` reads a folder or zip."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from hmdrn_runtime.datasets.dataset import Photo, open_species
from hmdrn_runtime.datasets.files import open_files
from hmdrn_runtime.errors import DatasetError, EnrollmentError, HmdrnError, ImageError
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.images.capture_time import read_capture_time
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.formats import is_photo
from hmdrn_runtime.images.preprocessing import Box, Preprocessing, crop_box
from hmdrn_runtime.images.quality import PreparedPhoto, prepare_photo
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

FOLDER = "folder"
"""Name of the form's field for the files of a folder."""
MAX_PHOTOS = 1000
"""Most photos of one upload."""
_MAX_LIST = 4 << 20
"""Most bytes of a zip's list of members: enough for 10,000 long names."""
FOLDER_PREFIX = "hmdrn-studio-"
"""Beginning of the names of folders for uploads, among the system's temporary files."""


@dataclass(frozen=True)
class Upload:
    """A file that a browser sent.

    Attributes:
        name: Its name there, any text; never used as a path. Of a folder's file the way to it, from the
            folder's own name on.
        stream: Its content.
        field: Name of the form's field.
    """

    name: str
    stream: IO[bytes] = field(repr=False)
    field: str = "photos"


@dataclass(frozen=True)
class StoredUpload:
    """An upload in a file of ours.

    Attributes:
        name: As of `Upload`.
        path: The file.
        field: As of `Upload`.
    """

    name: str
    path: Path
    field: str = "photos"

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


@dataclass(frozen=True)
class _Member:
    """A photo of an upload that is not read yet, with its species and the part to enroll."""

    label: str
    name: str
    read: Callable[[], bytes]
    box: Box | None = None


def read_uploads(
    uploads: Sequence[StoredUpload],
    label: str,
    preprocessing: Preprocessing,
    boxes: Mapping[int, Box] | None = None,
    report: ProgressCallback = ignore_progress,
) -> ReadUploads:
    """Prepare photos, zips and folders.

    Args:
        uploads: The files. A zip holds a folder for each species, or with a label any photos of it.
            Files of the field "folder" are read as a zip of that folder.
        label: The species; empty if every file is a zip of species' folders.
        preprocessing: The bundle's.
        boxes: Parts of photos to enroll, by the photos' places in `uploads`: x0, y0, x1, y1 in pixels of the
            upright photo, clipped to it. Zips and folders have none.
        report: Called with the progress.

    Raises:
        EnrollmentError: No file, a bad label, photos without a label, or too many photos.
        DatasetError: A zip that cannot be used.
    """
    if not uploads:
        raise EnrollmentError("no photo was chosen: choose or drop at least one")
    folder = [upload for upload in uploads if upload.field == FOLDER]
    if label.strip() or not all(upload.is_zip for upload in uploads if upload.field != FOLDER):
        label = clean_label(label)
    result = ReadUploads()
    with ExitStack() as stack:
        members: list[_Member] = []
        if folder:
            members += _list_members(stack.enter_context(_zip_folder(folder)), "the folder", label)
        for index, upload in enumerate(uploads):
            if upload.field == FOLDER:
                continue
            if upload.is_zip:
                members += _list_members(upload.path, upload.name, label)
            else:
                box = (boxes or {}).get(index)
                members.append(_Member(label, upload.name, upload.path.read_bytes, box))
        if len(members) > MAX_PHOTOS:
            raise EnrollmentError(describe_excess(len(members)))
        for number, member in enumerate(members):
            report("reading photos", number, len(members))
            try:
                photo = prepare_upload(member.read(), member.name, preprocessing, member.box)
                result.species.setdefault(clean_label(member.label), []).append(photo)
            except (ImageError, DatasetError) as error:
                result.problems.append(str(error))
    return result


def describe_excess(count: int | None = None) -> str:
    """Return the sentence that refuses too many photos."""
    what = "there are too many files" if count is None else f"there are {count} photos"
    return (
        f"{what}, at most {MAX_PHOTOS} at once: choose some species' folders at a time, or run hmdrn enroll "
        "on the device"
    )


@contextmanager
def _store(upload: Upload, suffix: str) -> Iterator[Path]:
    """Write an upload into a file of a name of ours, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
        path = Path(folder) / f"upload{suffix}"
        with path.open("wb") as file:
            shutil.copyfileobj(upload.stream, file, 1 << 20)
        yield path


@contextmanager
def _zip_folder(uploads: Sequence[StoredUpload]) -> Iterator[Path]:
    """Write a folder's files into a zip, whose names are checked where zips are read.

    The folder around several species' folders is left out; one with nothing but photos is a species itself.
    """
    names = [upload.name for upload in uploads]
    roots = {name.partition("/")[0] for name in names}
    if not roots & {"", ".", ".."} and any(name.count("/") > 1 and is_photo(name) for name in names):
        names = [name.partition("/")[2] for name in names]
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as place:
        path = Path(place) / "folder.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, upload in zip(names, uploads, strict=True):
                if name:
                    archive.writestr(zipfile.ZipInfo(name), upload.path.read_bytes())
        yield path


class _Archive(io.FileIO):
    """A zip whose list of members is not read if it is longer than an upload needs."""

    is_long = False

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_LIST:
            self.is_long = True
            raise OSError("too long")
        return super().read(size) or b""


def _check_count(path: Path) -> None:
    """Refuse a zip of millions of members: their list alone would take gigabytes of memory."""
    with _Archive(path) as file:
        with suppress(Exception):  # `open_files` says what else is wrong
            zipfile.ZipFile(file)
        if file.is_long:
            raise EnrollmentError(describe_excess())


def _list_members(path: Path, name: str, label: str) -> list[_Member]:
    _check_count(path)
    try:
        if label:
            _, files, listing = open_files(path)
            photos = [(label, Photo(member, member, files)) for member in sorted(listing.images)]
        else:
            dataset = open_species(path)
            photos = [(species, photo) for species, members in dataset.classes.items() for photo in members]
    except DatasetError as error:
        raise DatasetError(str(error).replace(describe_source(path), name)) from error
    return [_Member(species, photo.name, photo.read) for species, photo in photos]


def prepare_upload(
    data: bytes, name: str, preprocessing: Preprocessing, box: Box | None = None
) -> PreparedPhoto:
    """Prepare the bytes of a photo, or the part of it within a box; raises ImageError with its name."""
    try:
        image = load_image(data)
        photo = prepare_photo(image if box is None else crop_box(image, box), preprocessing, name)
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
