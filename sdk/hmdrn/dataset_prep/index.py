"""The files in all archives of a data set, and the photos and classes that they make up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from hmdrn.dataset_prep.archives import IsWanted, read_members
from hmdrn.dataset_prep.crop import Crop
from hmdrn.dataset_prep.splits import Rule
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.progress import ProgressCallback

T = TypeVar("T")

MAX_METADATA_BYTES = 256 * 1024 * 1024
"""Most bytes of all lists and annotations of a data set together; they are held in memory."""


class Member(NamedTuple):
    """A file in one of the archives: the archive's index, and the path in it."""

    archive: int
    name: str


@dataclass(frozen=True)
class Photo:
    """A photo of the original data set.

    Attributes:
        member: The file.
        label: Its class.
        stem: Its file name in the result, without the suffix.
        crop: The part to keep.
    """

    member: Member
    label: str
    stem: str
    crop: Crop


@dataclass(frozen=True)
class Catalog:
    """A data set: the classes by their number in it, counted from 1, and all photos.

    Raises:
        DatasetError: Two classes or two photos have the same name, or a class has no photo.
    """

    classes: Mapping[int, str]
    photos: Sequence[Photo]

    def __post_init__(self) -> None:
        _reject_duplicates("classes", self.classes.values())
        _reject_duplicates("photos", [f"{photo.label}/{photo.stem}" for photo in self.photos])
        empty = sorted(set(self.classes.values()) - {photo.label for photo in self.photos})
        if empty:
            raise DatasetError(
                f"the archives hold no photo of {_abbreviate(empty)}: pass all archives, downloaded whole"
            )


@dataclass(frozen=True)
class ArchiveIndex:
    """The files of all archives, and the content of the lists and annotations among them.

    Attributes:
        given: The archives, for messages.
        expected: Names of the archives that make up the data set, for messages.
        files: All files.
        metadata: The content of lists and annotations.
    """

    given: str
    expected: str
    files: Sequence[Member]
    metadata: Mapping[Member, bytes]

    def read_list(self, file_name: str) -> bytes:
        """Return the content of a list, wherever in the archives it lies; raise a DatasetError without it."""
        return self.require(self.find_list(file_name), file_name)

    def find_list(self, file_name: str) -> bytes | None:
        """Return the content of a list, None if it is missing; of several, the least deep in folders."""
        matches = [member for member in self.metadata if member.name.split("/")[-1] == file_name]
        return self.metadata[min(matches, key=_depth)] if matches else None

    def by_tail(self, parts: int, members: Collection[Member] | None = None) -> dict[str, Member]:
        """Map the last parts of each file's path to the file; of several alike, the least deep in folders."""
        tails: dict[str, Member] = {}
        for member in sorted(self.files if members is None else members, key=_depth):
            tails.setdefault("/".join(member.name.split("/")[-parts:]), member)
        return tails

    def require(self, value: T | None, what: str) -> T:
        """Return a value; None raises a DatasetError that it is missing."""
        if value is None:
            raise self.missing(what)
        return value

    def missing(self, what: str) -> DatasetError:
        """Make the error that something is missing."""
        return DatasetError(f"no {what} in {self.given}: pass {self.expected}, as downloaded or unpacked")

    def reject_missing(self, photos: Sequence[str]) -> None:
        """Reject lists that name missing photos."""
        if photos:
            raise self.missing(f"photo {_abbreviate(photos)}, which the lists name,")


@dataclass(frozen=True)
class ArchiveLayout:
    """The layout of a data set's original archives.

    Attributes:
        title: The data set's name.
        archives: Names of the archives, for messages.
        count: Number of classes.
        crop: True if photos are cropped to the annotated box by default.
        rules: The available splits by name; the first is the default.
        is_metadata: Returns true for the lists and annotations that `read` needs.
        read: Makes the catalog of an index; the flag says whether to crop photos to their boxes. Raises
            DatasetError if a list, photo or box is missing, or a list is damaged.
    """

    title: str
    archives: str
    count: int
    crop: bool
    rules: Mapping[str, Rule]
    is_metadata: IsWanted
    read: Callable[[ArchiveIndex, bool], Catalog]


def index_archives(layout: ArchiveLayout, archives: Sequence[Path], report: ProgressCallback) -> ArchiveIndex:
    """Read through the archives once.

    Raises:
        DatasetError: An archive is damaged, or is not to be trusted.
    """
    files: list[Member] = []
    metadata: dict[Member, bytes] = {}
    size = 0
    for index, path in enumerate(archives):
        report(f"listing {path.name}", index, len(archives))
        for name, content in read_members(path, layout.is_metadata):
            files.append(Member(index, name))
            if content is not None:
                metadata[files[-1]] = content
                size += len(content)
                if size > MAX_METADATA_BYTES:
                    raise DatasetError(
                        f"the lists and annotations in {describe_source(path)} take more than "
                        f"{MAX_METADATA_BYTES} bytes: do not trust this archive"
                    )
    given = ", ".join(map(describe_source, archives))
    return ArchiveIndex(given, layout.archives, files, metadata)


def _depth(member: Member) -> tuple[int, Member]:
    return member.name.count("/"), member


def _abbreviate(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return f"{names[0]!r}" + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def _reject_duplicates(kind: str, names: Collection[str]) -> None:
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise DatasetError(f"two {kind} are called {_abbreviate(duplicates)}: pass every archive once")
