"""Photos of a calibration: some to observe ranges on, others to measure accuracy on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median_low

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.datasets.dataset import Photo, find_splits, open_dataset
from hmdrn_runtime.datasets.reading import PhotoReader
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

Pixels = npt.NDArray[np.uint8]

WAY = 5
SHOTS = (1, 5)
QUERIES = 16
MAX_PHOTOS = 3000
"""Most photos to measure on; of larger data sets, the same number of every class."""


@dataclass(frozen=True)
class PreparedPixels:
    """The network's input of one photo; it is read once for all candidates."""

    pixels: Pixels

    def prepare(self, preprocessing: Preprocessing) -> Pixels:
        """Return the pixels, which have the bundle's preprocessing already."""
        return self.pixels


@dataclass(frozen=True, eq=False)
class PhotoSplit:
    """Photos by class, not read yet: to observe ranges on, and others to measure accuracy on."""

    rule: str
    ranges: Mapping[str, Sequence[Photo]]
    accuracy: Mapping[str, Sequence[Photo]]


@dataclass(frozen=True, eq=False)
class CalibrationPhotos:
    """Photos of a calibration; ranges and accuracy use different ones.

    Attributes:
        digest: SHA-256 of all of them, `Dataset.digest`.
        rule: How they were split, in words.
        ranges: Photos to observe ranges on, by class.
        accuracy: Photos to measure on, by class, prepared.
        unreadable: A message for each photo that cannot be read and was left out.
    """

    digest: str
    rule: str
    ranges: Mapping[str, Sequence[Photo]]
    accuracy: Mapping[str, Sequence[PreparedPixels]]
    unreadable: tuple[str, ...] = ()

    def settings(self, episodes: int) -> list[EpisodeSetting]:
        """Return 1-shot and 5-shot settings, 5-way with 16 queries, or as many as the photos allow."""
        return fit_settings([len(photos) for photos in self.accuracy.values()], episodes)


def split_photos(path: str | os.PathLike[str]) -> PhotoSplit:
    """List photos and split them.

    Data with the splits `train` and `val` give ranges from the first and accuracy from the second. Otherwise
    every other photo of each class goes to either.

    Args:
        path: A folder or zip of <class>/<image> or <split>/<class>/<image>.

    Raises:
        DatasetError: The data do not exist, or have too few classes or photos.
    """
    if {"train", "val"} <= set(find_splits(path)):
        split = PhotoSplit(
            "ranges from the split train, accuracy from val",
            open_dataset(path, "train").classes,
            open_dataset(path, "val").classes,
        )
    else:
        classes = open_dataset(path).classes
        split = PhotoSplit(
            "every other photo of each class for ranges, the rest for accuracy",
            {label: photos[::2] for label, photos in classes.items()},
            {label: photos[1::2] for label, photos in classes.items() if len(photos) > 1},
        )
    for part in (split.ranges, split.accuracy):
        fit_settings([len(photos) for photos in part.values()], 1)
    return split


def load_calibration_photos(
    path: str | os.PathLike[str], preprocessing: Preprocessing, report: ProgressCallback = ignore_progress
) -> CalibrationPhotos:
    """Split photos, and read those that accuracy is measured on; photos that cannot be read are left out.

    Raises:
        DatasetError: See `split_photos`.
    """
    split, reader = split_photos(path), PhotoReader()
    most = max(MAX_PHOTOS // len(split.accuracy), QUERIES + max(SHOTS))
    total, done = len(split.ranges) + len(split.accuracy), 0
    ranges: dict[str, list[Photo]] = {}
    accuracy: dict[str, list[PreparedPixels]] = {}
    for label, photos in split.ranges.items():
        ranges[label] = [photo for photo, _ in reader.read(photos, preprocessing)]
        done += 1
        report("reading photos", done, total)
    for label, photos in split.accuracy.items():
        accuracy[label] = [PreparedPixels(p) for _, p in islice(reader.read(photos, preprocessing), most)]
        done += 1
        report("reading photos", done, total)
    for part in (ranges, accuracy):
        fit_settings([len(members) for members in part.values()], 1)
    digest = open_dataset(path).digest()
    return CalibrationPhotos(digest, split.rule, ranges, accuracy, tuple(reader.unreadable))


def fit_settings(sizes: Sequence[int], episodes: int) -> list[EpisodeSetting]:
    """Return settings whose episodes can be drawn from classes of these sizes.

    Raises:
        DatasetError: Fewer than two classes have two photos.
    """
    usable = sorted((size for size in sizes if size > 1), reverse=True)
    if len(usable) < 2:
        raise DatasetError(
            "calibration needs two classes with at least two photos to observe and two to measure on: "
            "add photos, best 20 or more of each class"
        )
    way = min(WAY, len(usable))
    # The size of most classes: one class of two photos must not limit every episode to a single query.
    photos = min(usable[way - 1], median_low(usable))
    shots = [shot for shot in SHOTS if shot + min(QUERIES, 5) <= photos] or [1]
    return [EpisodeSetting(way, shot, min(QUERIES, photos - max(shots)), episodes) for shot in shots]
