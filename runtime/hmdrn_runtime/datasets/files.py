"""The files of a data set, in a folder or a zip: listed at once, read when asked for.

Zips are taken for hostile: no member may lie outside, be encrypted, or unpack to more than a limit.
"""

from __future__ import annotations

import os
import re
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.formats import A_VIDEO, is_hidden, is_photo, is_video
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.messages import one_line

MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""Most bytes of one unpacked photograph in a zip."""

_EXPECTED = "a folder or a zip of <class>/<image>"

Parts: TypeAlias = tuple[str, ...]
"""The folders and the file name of an image inside the data set."""


class Files(Protocol):
    """Where the photographs of a data set lie."""

    def read(self, member: str) -> bytes:
        """The bytes of a file, by its path in the folder or zip."""


@dataclass(frozen=True)
class Listing:
    """What a folder or a zip holds, hidden things aside.

    Attributes:
        images: The parts of each image by its path in the folder or zip.
        folders: The parts of every folder, empty ones too.
    """

    images: Mapping[str, Parts]
    folders: frozenset[Parts]


def open_files(path: str | os.PathLike[str]) -> tuple[Path, Files, Listing]:
    """List a folder or a zip.

    Returns:
        The expanded path, its reader, and what it holds.

    Raises:
        DatasetError: the path is missing or unreadable, or a zip that is damaged or not to be trusted.

    """
    try:
        source = Path(path).expanduser()
        if source.is_dir():
            return source, _Folder(source), _listing(_names_below(source))
        if not source.exists():
            raise DatasetError(f"{describe_source(path)} does not exist: give {_EXPECTED}")
        if not source.is_file():
            raise DatasetError(f"{describe_source(path)} is not a regular file: give {_EXPECTED}")
        if is_photo(source.name):
            raise DatasetError(
                f"{describe_source(path)} is a file; give the folder that holds a folder of photos for each "
                "class, or a zip of it"
            )
        if is_video(source.name):
            raise DatasetError(f"{describe_source(path)} {A_VIDEO}")
        archive = _Zip(source)
        return source, archive, _listing(archive.names)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        # RuntimeError is what there being no home to expand "~user" to raises.
        raise DatasetError(
            f"{describe_source(path)} cannot be read ({one_line(error)}): check the path and its permissions"
        ) from error


def photos_below(folder: str | os.PathLike[str]) -> list[Path]:
    """The photographs in a folder and in those within it, in the order of their paths.

    By the endings of their names; what `is_hidden` is left out, as in a data set.

    Raises:
        DatasetError: it, or a folder within it, cannot be read.

    """
    source, _, listing = open_files(folder)
    return sorted(source / name for name in listing.images)


def _listing(names: Iterable[str]) -> Listing:
    """Of '/'-separated paths of files and, with a '/' at the end, folders."""
    images: dict[str, Parts] = {}
    folders: set[Parts] = set()
    for name in names:
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if is_hidden(parts):
            continue
        if is_photo(name):
            images[name] = parts
        above = len(parts) if name.endswith("/") else len(parts) - 1
        folders |= {parts[:depth] for depth in range(1, above + 1)}
    return Listing(images, frozenset(folders))


def _names_below(root: Path) -> Iterator[str]:
    """'/'-separated paths below a folder, those of folders with a '/' at the end; no link in circles."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        here = Path(folder)
        folders[:] = [name for name in folders if not (name.startswith(".") or _leads_back(here / name))]
        for name in files:
            if (here / name).is_file():
                yield (here / name).relative_to(root).as_posix()
        for name in folders:
            yield (here / name).relative_to(root).as_posix() + "/"


def _leads_back(folder: Path) -> bool:
    """Whether a link goes to a folder above itself."""
    if not folder.is_symlink():
        return False
    parent = folder.parent.resolve()
    return folder.resolve() in (parent, *parent.parents)


@dataclass(frozen=True)
class _Folder:
    root: Path

    def read(self, member: str) -> bytes:
        try:
            return (self.root / member).read_bytes()
        except OSError as error:
            raise DatasetError(
                f"{describe_source(self.root / member)} cannot be read ({one_line(error)}): check the file"
            ) from error


class _Zip:
    """A zip that is opened once and read from by many threads.

    `names` are the '/'-separated paths of its members, folders with a '/' at the end. A process that was
    forked off opens it anew, since both would move the one position in the file; one that it is sent to by
    pickle does so too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._archive = self._opened()
        self._members = self._checked_members()

    @property
    def names(self) -> Iterable[str]:
        return self._members.keys()

    def __reduce__(self) -> tuple[type[_Zip], tuple[Path]]:
        return _Zip, (self.path,)

    def read(self, member: str) -> bytes:
        if self._process != os.getpid():
            # The lock too: another thread may have held it when the process was forked.
            self._archive, self._lock = self._opened(), threading.Lock()
            self._process = os.getpid()
        try:
            with self._lock, self._archive.open(self._members[member]) as stream:
                content = stream.read(MAX_MEMBER_BYTES + 1)
        except Exception as error:  # zipfile and its decompressors raise nearly anything on damage
            raise DatasetError(
                f"{member!r} in {describe_source(self.path)} cannot be read ({one_line(error)}): "
                "the zip is damaged or packed unusually; pack it again"
            ) from error
        if len(content) > MAX_MEMBER_BYTES:
            raise _too_large(member, self.path, f"more than {MAX_MEMBER_BYTES}")
        return content

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except Exception as error:
            raise DatasetError(
                f"{describe_source(self.path)} cannot be read as a zip ({one_line(error)}): give {_EXPECTED}"
            ) from error

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        """What the zip holds by path; of two of the same path the last, as unpacking would leave it."""
        shown = describe_source(self.path)
        # Some tools of Windows write backslashes.
        members = {info.filename.replace("\\", "/"): info for info in self._archive.infolist()}
        for name in members:
            if name.startswith("/") or re.match("[A-Za-z]:/", name) or ".." in name.split("/"):
                raise DatasetError(
                    f"{shown} has a member outside of itself, {name!r}: "
                    "do not trust this zip, or pack it again with relative paths"
                )
        for name in _listing(members).images:
            if members[name].flag_bits & 0x1:
                raise DatasetError(f"{name!r} in {shown} is encrypted: pack the zip again without a password")
            if members[name].file_size > MAX_MEMBER_BYTES:
                raise _too_large(name, self.path, str(members[name].file_size))
        return members


def _too_large(member: str, path: Path, size: str) -> DatasetError:
    return DatasetError(
        f"{member!r} in {describe_source(path)} unpacks to {size} bytes, "
        f"over the limit of {MAX_MEMBER_BYTES}: it is no photo; pack the zip again without it"
    )
