"""Photographs by class, in a folder or a zip.

A data set is laid out as `<class>/<image>` or `<split>/<class>/<image>`; which of both is seen from the
depth of its images. Photographs are listed at once and read when asked for; a zip is never unpacked.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.datasets.files import MAX_MEMBER_BYTES, Files, open_files
from hmdrn_runtime.datasets.layout import Layout, check_split, recognise, recognise_species
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.formats import IMAGE_SUFFIXES, is_photo
from hmdrn_runtime.images.preprocessing import INPUT_SIZE, preprocess
from hmdrn_runtime.images.source import describe_source

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_MEMBER_BYTES",
    "Dataset",
    "Photo",
    "find_splits",
    "is_photo",
    "open_dataset",
    "open_species",
]


@dataclass(frozen=True)
class Photo:
    """One photograph of a data set, read when asked.

    `name` is its path inside the data set, '/'-separated, without a folder that wraps the whole.
    """

    name: str
    _member: str = field(repr=False)
    _files: Files = field(repr=False)

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

    def prepare(self, mode: str, side: int = INPUT_SIZE) -> npt.NDArray[np.uint8]:
        """Return the network's input, RGB uint8 (side, side, 3).

        Arguments as for `images.preprocessing.preprocess`, errors as `load`.
        """
        return preprocess(self.load(), mode, side)


@dataclass(frozen=True)
class Dataset:
    """Photographs by class.

    `source` is the folder or zip; `split` the one that was asked for ("all" for all of them), None where
    the layout has no splits; `classes` is sorted by class name and its photos by name, in the order of
    code points. Class names are labels as they are, neither trimmed nor folded. `empty` names the class
    folders in which there is no photo.
    """

    source: Path
    split: str | None
    classes: Mapping[str, tuple[Photo, ...]]
    empty: tuple[str, ...] = ()

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
    source, files, listing = open_files(path)
    layout = recognise(listing, source)
    if split != "all":
        check_split(split, layout, source)
    return _dataset(source, files, layout, split)


def open_species(path: str | os.PathLike[str]) -> Dataset:
    """List photographs to enroll: of a folder or a zip of `<species>/<image>`, and nothing deeper.

    As `open_dataset`, but without splits, and without a folder that wraps those of a folder, or the only
    one of a zip: it might be the species itself.

    Raises:
        DatasetError: as `open_dataset` does; a photo does not lie directly in its species' folder.

    """
    source, files, listing = open_files(path)
    return _dataset(source, files, recognise_species(listing, source), "all")


def _dataset(source: Path, files: Files, layout: Layout, split: str) -> Dataset:
    classes: dict[str, list[Photo]] = defaultdict(list)
    for parts, member in layout.photos:
        if split == "all" or parts[0] == split:
            classes[parts[-2]].append(Photo("/".join(parts), member, files))
    by_name = {
        label: tuple(sorted(classes[label], key=lambda photo: photo.name)) for label in sorted(classes)
    }
    empty = {parts[-1] for parts in layout.empty if split in ("all", parts[0])} - set(by_name)
    return Dataset(source, split if layout.splits else None, by_name, tuple(sorted(empty)))


def find_splits(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Name the splits of a folder or zip, sorted; () when its layout has none.

    Raises:
        DatasetError: as `open_dataset` does.

    """
    source, _, listing = open_files(path)
    return recognise(listing, source).splits
