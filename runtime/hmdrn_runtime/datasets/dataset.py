"""Photos by class, in a folder or a zip.

A data set is laid out as `<class>/<image>` or `<split>/<class>/<image>`; the depth of its images shows which.
Photos are listed when the data set is opened and read on demand; a zip is never unpacked.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.datasets.files import FileReader, open_files
from hmdrn_runtime.datasets.layout import Layout, check_split, detect_layout, detect_species_layout
from hmdrn_runtime.errors import DatasetError, ImageError
from hmdrn_runtime.gallery.labels import describe_lookalikes, find_lookalikes, normalize_label
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import Preprocessing, preprocess
from hmdrn_runtime.images.source import describe_source


@dataclass(frozen=True)
class Photo:
    """One photo of a data set, read on demand.

    `name` is its '/'-separated path inside the data set, without a folder that wraps everything.

    Examples:
        >>> classes = hmdrn.open_dataset("birds.zip", split="val").classes
        >>> photo = next(iter(classes.values()))[0]
        >>> photo.load().size
        (96, 96)
    """

    name: str
    _member: str = field(repr=False)
    _files: FileReader = field(repr=False)

    def read(self) -> bytes:
        """Return the bytes of the image file; safe to call from several threads.

        Raises:
            DatasetError: The file is gone, damaged, or larger than 256 MiB unpacked.
        """
        return self._files.read(self._member)

    def load(self) -> PIL.Image.Image:
        """Return the photo as an upright RGB image.

        Raises:
            DatasetError: As `read`.
            ImageError: The file is not a usable image; the message names it.
        """
        data = self.read()
        try:
            return load_image(data)
        except ImageError as error:
            raise ImageError(str(error).replace(describe_source(data), self.name, 1)) from error

    def prepare(self, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
        """Return the network's input, RGB uint8 (side, side, 3).

        See `load` for the errors.
        """
        return preprocess(self.load(), preprocessing)


@dataclass(frozen=True)
class Dataset:
    """Photos by class.

    Attributes:
        source: The folder or zip.
        split: The requested split ("all" for all of them); None if the layout has no splits.
        classes: Photos by class name. Classes and photos are sorted by name, in code point order. Class
            names are normalized as labels are: Unicode NFC, no surrounding blanks.
        empty_classes: Names of the class folders without a photo.
        notes: Lines about files that are left out, and about names that are uncertain.
        lookalikes: Names of classes, of all splits, that look alike and are different classes.

    Examples:
        >>> data = hmdrn.open_dataset("birds.zip", split="val")
        >>> len(data.classes)
        5
    """

    source: Path
    split: str | None
    classes: Mapping[str, tuple[Photo, ...]]
    empty_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lookalikes: tuple[tuple[str, ...], ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The notes, and a line for each group of look-alikes."""
        lines = (
            f"{describe_lookalikes(g)} look alike and count as {len(g)} classes" for g in self.lookalikes
        )
        return (*self.notes, *lines)

    def __len__(self) -> int:
        """Return the number of photos."""
        return sum(len(photos) for photos in self.classes.values())

    def digest(self) -> str:
        """Identify the data by SHA-256 over class names, photo names and the photos' bytes.

        Reads every photo; one that cannot be read counts by its name. A folder and a zip of the same photos
        have the same digest, in whatever Unicode form their names are.

        Returns:
            64 lower-case hexadecimal digits.
        """
        total = hashlib.sha256()
        for piece in self._digest_pieces():
            # The length first, or two data sets could run into the same bytes.
            total.update(len(piece).to_bytes(8, "big"))
            total.update(piece)
        return total.hexdigest()

    def _digest_pieces(self) -> Iterator[bytes]:
        for label, photos in self.classes.items():
            yield label.encode("utf-8", "surrogatepass")
            yield len(photos).to_bytes(8, "big")
            for photo in photos:
                yield photo.name.encode("utf-8", "surrogatepass")
                try:
                    yield photo.read()
                except DatasetError:
                    yield b""


def open_dataset(path: str | os.PathLike[str], split: str = "all") -> Dataset:
    """List the photos of a folder or a zip.

    Files and folders of systems and tools (`.git`, `__MACOSX`, `$RECYCLE.BIN`, ...), files without a photo's
    suffix, and one folder that wraps everything are skipped; `Dataset.notes` names skipped images. A lone
    folder above the classes counts as a split if it has the name of one (train, val, test, novel, ...), and
    as a wrapper otherwise.

    Args:
        path: The folder or zip (`~` is expanded).
        split: One of `find_splits`, or "all" for all photos; a class in several splits is then joined.

    Returns:
        The data set, with at least one photo.

    Raises:
        DatasetError: The path is missing, unreadable or not a zip; it holds no image, or images in another
            layout; the split does not exist; a zip has a member that is encrypted, lies outside the zip,
            declares more than 256 MiB, or has a name in an unknown encoding.
    """
    source, files, listing = open_files(path)
    layout, split = detect_layout(listing, source), normalize_label(split)
    if split != "all":
        check_split(split, layout, source)
    return _build_dataset(source, files, layout, split, listing.notes)


def open_species(path: str | os.PathLike[str]) -> Dataset:
    """List the photos to enroll of a folder or a zip of `<species>/<image>`, and nothing deeper.

    Unlike in `open_dataset` there are no splits, and neither a folder around a folder's species nor one
    around a zip's only species is skipped: it might be the species itself.

    Raises:
        DatasetError: As `open_dataset`, or a photo is not directly in its species' folder.
    """
    source, files, listing = open_files(path)
    return _build_dataset(source, files, detect_species_layout(listing, source), "all", listing.notes)


def _build_dataset(
    source: Path, files: FileReader, layout: Layout, split: str, notes: tuple[str, ...]
) -> Dataset:
    classes: dict[str, list[Photo]] = defaultdict(list)
    spellings = Counter(parts for parts, _ in layout.photos)
    for parts, member in layout.photos:
        if split in ("all", parts[0]):
            # Two files may differ in nothing but the spelling of their path, which then is their name.
            name = "/".join(parts) if spellings[parts] == 1 else member
            classes[parts[-2]].append(Photo(name, member, files))
    by_name = {
        label: tuple(sorted(photos, key=lambda photo: photo.name))
        for label, photos in sorted(classes.items())
    }
    empty = {parts[-1] for parts in layout.empty_folders if split in ("all", parts[0])} - set(by_name)
    return Dataset(
        source,
        split if layout.splits else None,
        by_name,
        tuple(sorted(empty)),
        notes,
        tuple(find_lookalikes({parts[-2] for parts, _ in layout.photos})),
    )


def open_splits(path: str | os.PathLike[str], *splits: str) -> list[Dataset]:
    """Open those of the splits that a folder or zip has, or all of it if it has none of them.

    Raises:
        DatasetError: As `open_dataset`.
    """
    available = find_splits(path)
    names = [split for split in splits if normalize_label(split) in available]
    return [open_dataset(path, split) for split in names] or [open_dataset(path)]


def pool_classes(datasets: Iterable[Dataset]) -> dict[str, tuple[Photo, ...]]:
    """Return the classes of several data sets in one mapping, named `<data set>/<class>`."""
    return {
        f"{dataset.source.stem}/{name}": photos
        for dataset in datasets
        for name, photos in dataset.classes.items()
    }


def find_splits(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the sorted names of the splits of a folder or zip; () if its layout has none.

    Raises:
        DatasetError: As `open_dataset`.
    """
    source, _, listing = open_files(path)
    return detect_layout(listing, source).splits
