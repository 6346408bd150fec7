"""Photographs by class, in a folder or a zip.

A data set is laid out as `<class>/<image>` or `<split>/<class>/<image>`; which of both is seen from the
depth of its images. Photographs are listed at once and read when asked for; a zip is never unpacked.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.errors import DatasetError, ImageError
from hmdrn_runtime.images import describe_source, load_image, preprocess

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif")
"""Lower-case endings of the files that count as photographs."""
MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""Most bytes of one unpacked photograph in a zip."""

_LAYOUT = "<class>/<image> or <split>/<class>/<image>"

# One folder above classes may hold a single split or wrap the whole; what it is called tells.
_SPLIT_NAME = re.compile(
    r"(train(ing|val)?|val(id|idation)?|dev|test(ing)?|eval(uation)?|base|novel|support|query)([^a-z].*)?",
    re.IGNORECASE,
)


class _Files(Protocol):
    """Where the photographs of a data set lie."""

    def read(self, member: str) -> bytes:
        """The bytes of a file, by its path in the folder or zip."""


@dataclass(frozen=True)
class Photo:
    """One photograph of a data set, read when asked.

    `name` is its path inside the data set, '/'-separated, without a folder that wraps the whole.
    """

    name: str
    _member: str = field(repr=False)
    _files: _Files = field(repr=False)

    def read(self) -> bytes:
        """The bytes of the image file; safe to call from several threads.

        Raises:
            DatasetError: the file is gone, damaged, or larger than 256 MiB unpacked.

        """
        return self._files.read(self._member)

    def load(self) -> PIL.Image.Image:
        """The photograph as an upright RGB image.

        Raises:
            DatasetError: as `read`.
            ImageError: the file is no image that can be used; the message names it.
        """
        data = self.read()
        try:
            return load_image(data)
        except ImageError as error:
            raise ImageError(str(error).replace(describe_source(data), self.name, 1)) from error

    def prepare(self, mode: str) -> npt.NDArray[np.uint8]:
        """The network's input, RGB uint8 (84, 84, 3); `mode` as for `images.preprocess`, errors as `load`."""
        return preprocess(self.load(), mode)


@dataclass(frozen=True)
class Dataset:
    """Photographs by class.

    `source` is the folder or zip; `split` the one that was asked for ("all" for all of them), None where
    the layout has no splits; `classes` is sorted by class name and its photos by name, in the order of
    code points. Class names are labels as they are, neither trimmed nor folded.
    """

    source: Path
    split: str | None
    classes: Mapping[str, tuple[Photo, ...]]

    def __len__(self) -> int:
        """Number of photographs."""
        return sum(len(photos) for photos in self.classes.values())

    def digest(self) -> str:
        """Identify the data: SHA-256 over class names, photo names and the photos' bytes.

        A folder and a zip of the same photographs have the same digest. Reads every photograph.

        Returns:
            64 lower-case hexadecimal digits.

        Raises:
            DatasetError: a photo cannot be read.

        """
        total = hashlib.sha256()
        for piece in self._pieces():
            # The length in front, so that no two data sets run into the same bytes.
            total.update(len(piece).to_bytes(8, "big"))
            total.update(piece)
        return total.hexdigest()

    def _pieces(self) -> Iterator[bytes]:
        for label, photos in self.classes.items():
            yield label.encode("utf-8", "surrogatepass")
            yield len(photos).to_bytes(8, "big")
            for photo in photos:
                yield photo.name.encode("utf-8", "surrogatepass")
                yield photo.read()


def open_dataset(path: str | os.PathLike[str], split: str = "all") -> Dataset:
    """List the photographs of a folder or a zip.

    Hidden files and folders, `__MACOSX`, and files without an image's suffix are passed over, and so is
    one folder that wraps the whole. A lone folder above the classes counts as a split if it is called
    like one (train, val, test, novel, ...), and as a wrapper otherwise.

    Args:
        path: the folder or zip (`~` is expanded).
        split: one of `find_splits`, or "all" for all photographs; the photos of a class that lies in
            several splits are then joined.

    Returns:
        The data set, with at least one photograph.

    Raises:
        DatasetError: the path is missing, unreadable or no zip; it holds no image, or images that are
            not laid out as said; the split does not exist; a zip has a member that is encrypted, lies
            outside the zip, or is declared larger than 256 MiB.

    """
    source, files, listing = _open(path)
    layout = _recognise(listing, source)
    if split != "all":
        _check_split(split, layout, source)
    classes: dict[str, list[Photo]] = defaultdict(list)
    for parts, member in layout.photos:
        if split == "all" or parts[0] == split:
            classes[parts[-2]].append(Photo("/".join(parts), member, files))
    by_name = {
        label: tuple(sorted(classes[label], key=lambda photo: photo.name)) for label in sorted(classes)
    }
    return Dataset(source, split if layout.splits else None, by_name)


def find_splits(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Name the splits of a folder or zip, sorted; () when its layout has none.

    Raises:
        DatasetError: as `open_dataset` does.

    """
    source, _, listing = _open(path)
    return _recognise(listing, source).splits


# The folders and the file name of an image inside the data set.
_Parts = tuple[str, ...]


@dataclass(frozen=True)
class _Layout:
    """Each photo's parts, without a wrapping folder, and its path in the folder or zip."""

    photos: tuple[tuple[_Parts, str], ...]
    splits: tuple[str, ...]


def _recognise(listing: Mapping[str, _Parts], source: Path) -> _Layout:
    if not listing:
        raise DatasetError(
            f"{describe_source(source)} holds no images ({', '.join(IMAGE_SUFFIXES)}): "
            f"put photos in as {_LAYOUT}, or check the path"
        )
    photos = sorted((parts, member) for member, parts in listing.items())
    if _is_wrapped([parts for parts, _ in photos]):
        photos = [(parts[1:], member) for parts, member in photos]
    example: dict[int, str] = {}
    for parts, _ in photos:
        example.setdefault(len(parts), "/".join(parts))
    if 1 in example:
        raise DatasetError(
            f"{describe_source(source)} has images outside of any class folder, such as {example[1]!r}: "
            "put the images of each class in a folder named after it (<class>/<image>)"
        )
    if max(example) > 3:
        raise DatasetError(
            f"{describe_source(source)} has images too deep in folders, such as {example[max(example)]!r}: "
            f"lay it out as {_LAYOUT}"
        )
    if len(example) == 2:
        raise DatasetError(
            f"{describe_source(source)} mixes two layouts, <class>/<image> as in {example[2]!r} and "
            f"<split>/<class>/<image> as in {example[3]!r}: keep to one"
        )
    splits = tuple(sorted({parts[0] for parts, _ in photos})) if 3 in example else ()
    return _Layout(tuple(photos), splits)


def _is_wrapped(photos: list[_Parts]) -> bool:
    """Whether the first folder is none of the layout's own but lies around everything."""
    firsts, depths = {parts[0] for parts in photos}, {len(parts) for parts in photos}
    if len(firsts) > 1 or min(depths) < 3:
        return False
    return max(depths) > 3 or not _SPLIT_NAME.fullmatch(firsts.pop())


def _check_split(split: str, layout: _Layout, source: Path) -> None:
    shown = describe_source(source)
    if not layout.splits:
        raise DatasetError(
            f"{shown} has no splits, so none called {split!r}: ask for all, "
            "or lay it out as <split>/<class>/<image>"
        )
    if split not in layout.splits:
        raise DatasetError(
            f"{shown} has no split {split!r}: choose one of {', '.join(layout.splits)}, or all"
        )


def _open(path: str | os.PathLike[str]) -> tuple[Path, _Files, dict[str, _Parts]]:
    """The expanded path, its reader, and the parts of each image by its path in the folder or zip."""
    try:
        source = Path(path).expanduser()
        if source.is_dir():
            return source, _Folder(source), dict(_images(_files_below(source)))
        if not source.exists():
            raise DatasetError(f"{describe_source(path)} does not exist: pass a folder or a zip of {_LAYOUT}")
        if not source.is_file():
            raise DatasetError(
                f"{describe_source(path)} is not a regular file: pass a folder or a zip of {_LAYOUT}"
            )
        archive = _Zip(source)
        return source, archive, dict(_images(archive.names))
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        # RuntimeError is what there being no home to expand "~user" to raises.
        raise DatasetError(
            f"{describe_source(path)} cannot be read ({_one_line(error)}): check the path and its permissions"
        ) from error


def _images(names: Iterable[str]) -> Iterator[tuple[str, _Parts]]:
    """Of '/'-separated paths, those that are images and not hidden, with their parts."""
    for name in names:
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if not hidden and name.lower().endswith(IMAGE_SUFFIXES):
            yield name, parts


def _files_below(root: Path) -> Iterator[str]:
    """'/'-separated paths of the files of a folder, through links but not in circles."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        here = Path(folder)
        folders[:] = [name for name in folders if not (name.startswith(".") or _leads_back(here / name))]
        for name in files:
            if (here / name).is_file():
                yield (here / name).relative_to(root).as_posix()


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
                f"{describe_source(self.root / member)} cannot be read ({_one_line(error)}): check the file"
            ) from error


class _Zip:
    """A zip that is opened once and read from by many threads.

    `names` are the '/'-separated paths of its files. A process that was forked off opens it anew, since
    both would move the one position in the file; one that it is sent to by pickle does so too.
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
                f"{member!r} in {describe_source(self.path)} cannot be read ({_one_line(error)}): "
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
                f"{describe_source(self.path)} cannot be read as a zip ({_one_line(error)}): "
                f"pass a folder or a zip of {_LAYOUT}"
            ) from error

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        """The files in the zip by path; of two of the same path the last, as unpacking would leave it."""
        shown = describe_source(self.path)
        # Some tools of Windows write backslashes.
        members = {info.filename.replace("\\", "/"): info for info in self._archive.infolist()}
        for name in members:
            if name.startswith("/") or re.match("[A-Za-z]:/", name) or ".." in name.split("/"):
                raise DatasetError(
                    f"{shown} has a member outside of itself, {name!r}: "
                    "do not trust this zip, or pack it again with relative paths"
                )
        files = {name: info for name, info in members.items() if not name.endswith("/")}
        for name, _ in _images(files):
            if files[name].flag_bits & 0x1:
                raise DatasetError(f"{name!r} in {shown} is encrypted: pack the zip again without a password")
            if files[name].file_size > MAX_MEMBER_BYTES:
                raise _too_large(name, self.path, str(files[name].file_size))
        return files


def _too_large(member: str, path: Path, size: str) -> DatasetError:
    return DatasetError(
        f"{member!r} in {describe_source(path)} unpacks to {size} bytes, "
        f"over the limit of {MAX_MEMBER_BYTES}: it is no photo; pack the zip again without it"
    )


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
