"""Reading the photos of one call: those that cannot be read are left out, counted and named together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.datasets.dataset import Dataset
from hmdrn_runtime.errors import DatasetError, HmdrnError, ImageError
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.messages import abbreviate_names
from hmdrn_runtime.progress import ProgressCallback, ignore_progress


class Preparable(Protocol):
    """A photo that can become a network's input, such as a `dataset.Photo`."""

    def prepare(self, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
        """Return the network's input, RGB uint8 (side, side, 3)."""


_ANY = Preprocessing("crop", 84)

P = TypeVar("P", bound=Preparable)
T = TypeVar("T")
S = TypeVar("S")


class PhotoReader:
    """Reads photos, and collects the reasons of those that cannot be read.

    Attributes:
        unreadable: A message for each such photo, which names it.
    """

    def __init__(self) -> None:
        self.unreadable: list[str] = []

    def read(
        self, photos: Iterable[P], preprocessing: Preprocessing
    ) -> Iterator[tuple[P, npt.NDArray[np.uint8]]]:
        """Yield each photo that can be read with the network's input, uint8 (side, side, 3), on demand."""
        return self.apply(photos, lambda photo: photo.prepare(preprocessing))

    def apply(self, photos: Iterable[S], function: Callable[[S], T]) -> Iterator[tuple[S, T]]:
        """Yield each photo that a function can read with the function's result, on demand."""
        for photo in photos:
            try:
                result = function(photo)
            except (ImageError, DatasetError) as error:
                self.unreadable.append(str(error))
            else:
                yield photo, result

    def check(self, datasets: Sequence[Dataset], report: ProgressCallback = ignore_progress) -> None:
        """Read all photos of data sets.

        Raises:
            DatasetError: Some cannot be read; the message names them all together.
        """
        reasons: list[str] = []
        for dataset in datasets:
            photos = [photo for members in dataset.classes.values() for photo in members]
            for done, photo in enumerate(photos):
                report("checking photos", done, len(photos))
                list(self.read([photo], _ANY))
            place = f"in {dataset.source}: " if len(datasets) > 1 else ""
            reasons += [f"{place}{reason}" for reason in self.unreadable]
            self.unreadable.clear()
        self.unreadable += reasons
        self.refuse()

    def refuse(self) -> None:
        """Raise DatasetError if a photo could not be read."""
        if self.unreadable:
            raise DatasetError(
                f"{_count(self.unreadable)} cannot be read: "
                f"{abbreviate_names(self.unreadable, separator='; ')}; mend them, or take them out"
            )


@dataclass(frozen=True)
class ReadClasses:
    """Classes whose photos were read.

    Attributes:
        sizes: Number of photos that can be read, by class.
        unreadable: A message for each other photo.
    """

    sizes: Mapping[str, int]
    unreadable: tuple[str, ...]


def read_classes(
    classes: Mapping[str, Sequence[Preparable]],
    preprocessing: Preprocessing,
    batch: int,
    receive: Callable[[npt.NDArray[np.uint8]], None],
    report: ProgressCallback = ignore_progress,
) -> ReadClasses:
    """Read the photos of classes in batches, class by class, without those that cannot be read.

    Args:
        classes: Photos by class.
        preprocessing: The way to the network's input.
        batch: Most photos of a batch.
        receive: Called with the network's inputs (N, side, side, 3), N at most `batch`.
        report: Called with the progress.
    """
    reader, sizes = PhotoReader(), dict.fromkeys(classes, 0)
    photos = [(label, photo) for label, members in classes.items() for photo in members]
    for start in range(0, len(photos), batch):
        pixels = []
        for label, photo in photos[start : start + batch]:
            for _, prepared in reader.read([photo], preprocessing):
                sizes[label] += 1
                pixels.append(prepared)
        if pixels:
            receive(np.stack(pixels))
        report("photos", min(start + batch, len(photos)), len(photos))
    return ReadClasses(sizes, tuple(reader.unreadable))


def describe_unreadable(reasons: Sequence[str]) -> str:
    """Return a line about photos that are left out."""
    return f"{_count(reasons)} that cannot be read, left out: {abbreviate_names(reasons, separator='; ')}"


def apply_to_all(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Return the result of a function for each item.

    Raises:
        HmdrnError: It failed for some; the errors of all items are one.
    """
    results: list[T] = []
    errors: list[HmdrnError] = []
    for item in items:
        try:
            results.append(function(item))
        except HmdrnError as error:
            errors.append(error)
    raise_together(errors)
    return results


def raise_together(errors: Sequence[HmdrnError]) -> None:
    """Raise one error with the messages of all, if there are any."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        kinds = {type(error) for error in errors}
        kind = kinds.pop() if len(kinds) == 1 else HmdrnError
        raise kind(f"{len(errors)} problems: {abbreviate_names([str(e) for e in errors], separator='; ')}")


def _count(photos: Sequence[str]) -> str:
    return f"{len(photos)} photo{'s' * (len(photos) != 1)}"
