"""What the archives of a data set hold together, and what a data set is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hmdrn.dataset_prep.crop import Cut
from hmdrn.dataset_prep.sources import Source, Wanted
from hmdrn.dataset_prep.splits import Rule
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.source import describe_source

MAX_NOTES_BYTES = 256 * 1024 * 1024
"""Most bytes of all lists and annotations of a data set together; they are held in memory."""


class Member(NamedTuple):
    """A file in one of the archives: the archive's position among those given, and the path in it."""

    source: int
    name: str


@dataclass(frozen=True)
class Photo:
    """A photograph of the original data set: where it is, what it shows, what is cut out of it.

    `stem` is its file name in the result, without the suffix.
    """

    member: Member
    label: str
    stem: str
    cut: Cut


@dataclass(frozen=True)
class Catalogue:
    """A data set: the classes by their number in it, counted from 1, and all photographs.

    Raises:
        DatasetError: two classes or two photos have one name, or a class has no photo.
    """

    classes: Mapping[int, str]
    photos: Sequence[Photo]

    def __post_init__(self) -> None:
        _refuse_twins("classes", list(self.classes.values()))
        _refuse_twins("photos", [f"{photo.label}/{photo.stem}" for photo in self.photos])
        bare = sorted(set(self.classes.values()) - {photo.label for photo in self.photos})
        if bare:
            raise DatasetError(
                f"the archives hold no photo of {_some(bare)}: pass all archives, downloaded whole"
            )


@dataclass(frozen=True)
class Original:
    """How the original archives of a data set are laid out.

    Attributes:
        title: What it is called.
        archives: Names of the archives, for messages.
        count: Number of its classes.
        crop: Whether photos are cut to the annotated box unless asked otherwise.
        rules: The splits that are offered, by name; the first is the default.
        is_note: Which members are lists or annotations that `read` needs.
        read: The catalogue, of what there is and whether photos are to be cut to their boxes.
    """

    title: str
    archives: str
    count: int
    crop: bool
    rules: Mapping[str, Rule]
    is_note: Wanted
    read: Callable[[Contents, bool], Catalogue]


@dataclass(frozen=True)
class Contents:
    """The files of all archives, and the content of the lists and annotations among them."""

    given: str
    archives: str
    files: Sequence[Member]
    notes: Mapping[Member, bytes]

    @classmethod
    def of(
        cls, original: Original, sources: Sequence[Source], report: Callable[[str, int, int], None]
    ) -> Contents:
        """Read through the archives once.

        Raises:
            DatasetError: one is damaged or not to be trusted.
        """
        files: list[Member] = []
        notes: dict[Member, bytes] = {}
        taken = 0
        for index, source in enumerate(sources):
            report(f"listing {source.path.name}", index, len(sources))
            for name, content in source.members(original.is_note):
                files.append(Member(index, name))
                if content is not None:
                    notes[files[-1]] = content
                    taken += len(content)
                    if taken > MAX_NOTES_BYTES:
                        raise DatasetError(
                            f"the lists and annotations in {describe_source(source.path)} take more than "
                            f"{MAX_NOTES_BYTES} bytes: do not trust this archive"
                        )
        given = ", ".join(describe_source(source.path) for source in sources)
        return cls(given, original.archives, files, notes)

    def note(self, file_name: str) -> bytes:
        """The content of a list, wherever in the archives it lies.

        Raises:
            DatasetError: There is none.
        """
        content = self.find_note(file_name)
        if content is None:
            raise self.lacks(file_name)
        return content

    def find_note(self, file_name: str) -> bytes | None:
        """The content of a list, None if there is none; of several, the least deep in folders."""
        found = [member for member in self.notes if member.name.split("/")[-1] == file_name]
        return self.notes[min(found, key=_depth)] if found else None

    def by_tail(self, parts: int, among: Collection[Member] | None = None) -> dict[str, Member]:
        """The files by the last parts of their path; of several alike, the least deep in folders."""
        tails: dict[str, Member] = {}
        for member in sorted(self.files if among is None else among, key=_depth):
            tails.setdefault("/".join(member.name.split("/")[-parts:]), member)
        return tails

    def lacks(self, what: str) -> DatasetError:
        """The error that something is missing."""
        return DatasetError(f"no {what} in {self.given}: pass {self.archives}, as downloaded or unpacked")

    def refuse_missing(self, missing: Sequence[str]) -> None:
        """Refuse lists that name photos which are not there."""
        if missing:
            raise self.lacks(f"photo {_some(missing)}, which the lists name,")


def _depth(member: Member) -> tuple[int, Member]:
    return member.name.count("/"), member


def _some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return f"{names[0]!r}" + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def _refuse_twins(what: str, names: Sequence[str]) -> None:
    twins = sorted(name for name, times in Counter(names).items() if times > 1)
    if twins:
        raise DatasetError(f"two {what} are called {_some(twins)}: pass every archive once")
