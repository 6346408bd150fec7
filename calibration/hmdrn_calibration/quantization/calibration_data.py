"""The photographs of a calibration: some to observe ranges on, others to measure accuracy on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.datasets.dataset import Photo, find_splits, open_dataset
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.evaluation import Setting

Report = Callable[[str, int, int], None]
"""Progress: what is being done, how much of it is done, and of how much."""

Pixels = npt.NDArray[np.uint8]

WAY = 5
SHOTS = (1, 5)
QUERIES = 16
MOST_PHOTOS = 3000
"""Photos to measure on at most; of larger data, the same number of every class."""


@dataclass(frozen=True)
class Prepared:
    """The network's input of a photograph that has been read; reading it once serves every candidate."""

    pixels: Pixels

    def prepare(self, mode: str, side: int = 0) -> Pixels:
        """The input; it is of the bundle's preprocessing already."""
        return self.pixels


@dataclass(frozen=True, eq=False)
class CalibrationPhotos:
    """What a calibration looks at; ranges and accuracy are of different photographs.

    Attributes:
        source: Where they are from.
        digest: SHA-256 of all of them, `Dataset.digest`.
        rule: How they were divided, in words.
        ranges: Photos to observe ranges on, by class.
        accuracy: Photos to measure on, by class, read and prepared.
    """

    source: str
    digest: str
    rule: str
    ranges: Mapping[str, Sequence[Photo]]
    accuracy: Mapping[str, Sequence[Prepared]]

    def settings(self, episodes: int) -> list[Setting]:
        """Episodes to measure on, of 1 and 5 shots: 5-way with 16 queries, or as many as there are."""
        return fitting([len(photos) for photos in self.accuracy.values()], episodes)


@dataclass(frozen=True, eq=False)
class Division:
    """Photographs for ranges and for accuracy, none of them read yet."""

    rule: str
    ranges: Mapping[str, Sequence[Photo]]
    accuracy: Mapping[str, Sequence[Photo]]


def divide(path: str | os.PathLike[str]) -> Division:
    """List photographs and divide them.

    Data with splits `train` and `val` give ranges from the first and accuracy from the second. Otherwise
    every other photo of each class goes to either.

    Args:
        path: A folder or zip of <class>/<image> or <split>/<class>/<image>.

    Raises:
        DatasetError: No such data, or too few classes or photos.
    """
    if {"train", "val"} <= set(find_splits(path)):
        found = Division(
            "ranges from the split train, accuracy from val",
            open_dataset(path, "train").classes,
            open_dataset(path, "val").classes,
        )
    else:
        classes = open_dataset(path).classes
        found = Division(
            "every other photo of each class for ranges, the rest for accuracy",
            {label: photos[::2] for label, photos in classes.items()},
            {label: photos[1::2] for label, photos in classes.items() if len(photos) > 1},
        )
    for part in (found.ranges, found.accuracy):
        fitting([len(photos) for photos in part.values()], 1)
    return found


def open_photos(
    path: str | os.PathLike[str], preprocessing: str, report: Report = lambda what, done, of: None
) -> CalibrationPhotos:
    """Divide photographs, and read those that accuracy is measured on.

    Args:
        path: As for `divide`.
        preprocessing: As the bundle's.
        report: Told of the progress.

    Raises:
        DatasetError: As `divide`.
        ImageError: A photo that cannot be read.
    """
    divided = divide(path)
    most = max(MOST_PHOTOS // len(divided.accuracy), QUERIES + max(SHOTS))
    chosen = {label: photos[:most] for label, photos in divided.accuracy.items()}
    total, done = sum(map(len, chosen.values())), 0
    accuracy: dict[str, list[Prepared]] = {}
    for label, photos in chosen.items():
        accuracy[label] = [Prepared(photo.prepare(preprocessing)) for photo in photos]
        done += len(photos)
        report("reading photos", done, total)
    digest = open_dataset(path).digest()
    return CalibrationPhotos(str(path), digest, divided.rule, divided.ranges, accuracy)


def fitting(sizes: Sequence[int], episodes: int) -> list[Setting]:
    """Settings that classes of these sizes can give episodes of.

    Raises:
        DatasetError: Fewer than two classes of two photos.
    """
    usable = sorted((size for size in sizes if size > 1), reverse=True)
    if len(usable) < 2:
        raise DatasetError(
            "calibration needs two classes with at least two photos to observe and two to measure on: "
            "add photos, best 20 or more of each class"
        )
    way = min(WAY, len(usable))
    # What most classes have: a class of two photos must not make every episode one of a single query.
    photos = min(usable[way - 1], median_low(usable))
    shots = [shot for shot in SHOTS if shot + min(QUERIES, 5) <= photos] or [1]
    return [Setting(way, shot, min(QUERIES, photos - max(shots)), episodes) for shot in shots]
