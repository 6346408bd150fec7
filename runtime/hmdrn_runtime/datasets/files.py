"""The files of a data set in a folder or a zip: listed at once, read on demand.

Zips are untrusted: no member may lie outside, be encrypted, or unpack to more than a limit.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from hmdrn_runtime.datasets.system_files import is_system_path
from hmdrn_runtime.datasets.zip_names import decode_names
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.gallery.labels import normalize_label
from hmdrn_runtime.images.formats import VIDEO_ADVICE, is_other_image, is_photo, is_video
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.messages import HmdrnWarning, abbreviate_names, format_error

MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""Most bytes of one unpacked photo in a zip."""

_EXPECTED = "a folder or a zip of <class>/<image>"

PathParts: TypeAlias = tuple[str, ...]
"""The folders and the file name of an image inside the data set, as labels are normalized."""


class FileReader(Protocol):
    """A reader of the files in a folder or zip."""

    def read(self, member: str) -> bytes:
        """Return the bytes of a file, by its path in the folder or zip."""


@dataclass(frozen=True)
class Listing:
    """The content of a folder or a zip, without the files and folders of systems and tools.

    Attributes:
        images: The parts of each image by its path in the folder or zip.
        folders: The parts of every folder, empty ones included.
        notes: Lines about files that are left out, and about names that are uncertain.
    """

    images: Mapping[str, PathParts]
    folders: frozenset[PathParts]
    notes: tuple[str, ...] = ()


def open_files(path: str | os.PathLike[str]) -> tuple[Path, FileReader, Listing]:
    """List a folder or a zip.

    Returns:
        The expanded path, its reader, and its content.

    Raises:
        DatasetError: The path is missing or unreadable, or a zip that is damaged or unsafe.
    """
    shown = describe_source(path)
    try:
        source = Path(path).expanduser()
        if source.is_dir():
            special: list[str] = []
            return source, _FolderReader(source), _list_paths(_walk(source, special), special)
        if not source.exists():
            raise DatasetError(f"{shown} does not exist: give {_EXPECTED}")
        if not source.is_file():
            raise DatasetError(f"{shown} is not a regular file: give {_EXPECTED}")
        if is_photo(source.name):
            raise DatasetError(
                f"{shown} is a file; give the folder that holds a folder of photos for each class, "
                "or a zip of it"
            )
        if is_video(source.name):
            raise DatasetError(f"{shown} {VIDEO_ADVICE}")
        archive = _ZipReader(source)
        listing = _list_paths(archive.names)
        return source, archive, replace(listing, notes=(*listing.notes, *archive.notes))
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # RuntimeError: no home for "~user"
        raise DatasetError(
            f"{shown} cannot be read ({format_error(error)}): check the path and its permissions"
        ) from error


def find_photos(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the photos in a folder and its subfolders, sorted by path, without those of systems and tools.

    A warning names images that are left out.

    Raises:
        DatasetError: The folder, or one within it, cannot be read.
    """
    source, _, listing = open_files(folder)
    for note in listing.notes:
        warnings.warn(f"{describe_source(source)}: {note}", HmdrnWarning, stacklevel=2)
    return sorted(source / name for name in listing.images)


def _list_paths(paths: Iterable[str], left_out: Iterable[str] = ()) -> Listing:
    """List '/'-separated paths of files and, with a '/' at the end, of folders."""
    images: dict[str, PathParts] = {}
    folders: set[PathParts] = set()
    others: list[str] = []
    for path in paths:
        parts = tuple(part for part in path.split("/") if part not in ("", "."))
        if is_system_path(parts):
            continue
        parts = tuple(normalize_label(part) or part for part in parts)
        if is_photo(path):
            images[path] = parts
        elif is_other_image(path):
            others.append(path)
        depth = len(parts) if path.endswith("/") else len(parts) - 1
        folders |= {parts[:end] for end in range(1, depth + 1)}
    others += left_out
    note = f"left out {len(others)} that are not photos: {abbreviate_names(sorted(others))}"
    return Listing(images, frozenset(folders), (note,) if others else ())


def _walk(root: Path, special: list[str]) -> Iterator[str]:
    """Yield the '/'-separated paths below a folder, those of folders with a '/' at the end.

    Links are followed, unless they lead back to a folder above. A photo may be a link to a missing file.
    Other such links, and what is named like a photo but is neither file nor folder, go into `special`.
    """

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(root, followlinks=True, onerror=fail):
        parent = Path(folder)
        folders[:] = [n for n in folders if not (is_system_path([n]) or _leads_back(parent / n))]
        for name in files:
            file, path = parent / name, (parent / name).relative_to(root).as_posix()
            if file.is_file():
                yield path
            elif file.is_symlink() and not file.exists():
                if is_photo(name):
                    yield path
                else:
                    special.append(f"{path} (a link to nothing)")
            elif is_photo(name):
                special.append(f"{path} (not a regular file)")
        for name in folders:
            yield (parent / name).relative_to(root).as_posix() + "/"


def _leads_back(folder: Path) -> bool:
    parent = folder.parent.resolve()
    return folder.is_symlink() and folder.resolve() in (parent, *parent.parents)


@dataclass(frozen=True)
class _FolderReader:
    root: Path

    def read(self, member: str) -> bytes:
        path = self.root / member
        try:
            return path.read_bytes()
        except OSError as error:
            if path.is_symlink() and not path.exists():
                raise DatasetError(
                    f"{describe_source(path)} is a link to a missing file, "
                    f"{describe_source(path.readlink())}: put the photo itself there"
                ) from error
            raise DatasetError(
                f"{describe_source(path)} cannot be read ({format_error(error)}): check the file"
            ) from error


class _ZipReader:
    """A zip that is opened once and read by many threads.

    A forked process opens it anew, because both would move the one position in the file; so does a process
    that receives it by pickle.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown = describe_source(path)
        self._lock = threading.Lock()
        self._process = os.getpid()
        self.notes: tuple[str, ...] = ()
        self._archive = self._open()
        self._members = self._check_members()

    @property
    def names(self) -> Iterable[str]:
        """The '/'-separated paths of the members, those of folders with a '/' at the end."""
        return self._members.keys()

    def __reduce__(self) -> tuple[type[_ZipReader], tuple[Path]]:
        return _ZipReader, (self.path,)

    def read(self, member: str) -> bytes:
        if self._process != os.getpid():
            # The lock too: another thread may have held it during the fork.
            self._archive, self._lock = self._open(), threading.Lock()
            self._process = os.getpid()
        try:
            with self._lock, self._archive.open(self._members[member]) as stream:
                content = stream.read(MAX_MEMBER_BYTES + 1)
        except Exception as error:  # zipfile and its decompressors raise nearly anything on damage
            raise DatasetError(
                f"{member!r} in {self._shown} cannot be read ({format_error(error)}): "
                "the zip is damaged or packed unusually; pack it again"
            ) from error
        self._check_size(member, len(content), f"more than {MAX_MEMBER_BYTES}")
        return content

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except Exception as error:
            raise DatasetError(
                f"{self._shown} cannot be read as a zip ({format_error(error)}): give {_EXPECTED}"
            ) from error

    def _check_members(self) -> Mapping[str, zipfile.ZipInfo]:
        """Return the safe members by path."""
        names = decode_names(self._archive.infolist())
        members = names.members
        # In any of these encodings the folders are apart, and a suffix is what it is.
        texts = ((raw, raw.decode("latin-1")) for raw in names.unknown)
        unknown = [repr(raw)[1:] for raw, t in texts if is_photo(t) and not is_system_path(t.split("/"))]
        if unknown:
            raise DatasetError(
                f"{self._shown} has {len(unknown)} photos with names in an unknown encoding, of the bytes "
                f"{abbreviate_names(unknown, 3)}: unpack it where it was made and give the folder, or "
                "pack it there with names in UTF-8, as 7-Zip can"
            )
        guessed = [name for name in names.guessed if is_photo(name)]
        if guessed:
            self.notes = (
                f"names such as {guessed[0]!r} are of an unknown encoding and read as Western European: "
                "pack the zip again with names in UTF-8 if they are wrong",
            )
        for name in members:
            if name.startswith("/") or re.match("[A-Za-z]:/", name) or ".." in name.split("/"):
                raise DatasetError(
                    f"{self._shown} has a member outside of itself, {name!r}: "
                    "do not trust this zip, or pack it again with relative paths"
                )
        for name in _list_paths(members).images:
            if members[name].flag_bits & 0x1:
                raise DatasetError(
                    f"{name!r} in {self._shown} is encrypted: pack the zip again without a password"
                )
            self._check_size(name, members[name].file_size, str(members[name].file_size))
        return members

    def _check_size(self, member: str, size: int, shown_size: str) -> None:
        if size > MAX_MEMBER_BYTES:
            raise DatasetError(
                f"{member!r} in {self._shown} unpacks to {shown_size} bytes, over the limit of "
                f"{MAX_MEMBER_BYTES}: it is not a photo; pack the zip again without it"
            )
