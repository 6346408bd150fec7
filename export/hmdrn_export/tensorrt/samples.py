"""Photos that engines are compared on: drawn specimens, or photographs by class."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.datasets.reading import PhotoReader
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.specimens.drawing import draw_specimens

MAX_CLASSES = 20
"""Most classes of photographs: the check must not take longer than the build."""


@dataclass(frozen=True)
class Samples:
    """Photos as the network's input, class after class.

    Attributes:
        support: Photos to enroll, uint8 (classes * shots, side, side, 3).
        shots: Photos to enroll of each class.
        queries: Photos to name, uint8 (n, side, side, 3).
        answers: Number of each query's class, (n,).
    """

    support: npt.NDArray[np.uint8]
    shots: int
    queries: npt.NDArray[np.uint8]
    answers: npt.NDArray[np.int64]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.support) // self.shots


def draw_samples(side: int, classes: int, shots: int, queries: int) -> Samples:
    """Draw specimens: `shots` and `queries` of each of `classes` species, `side` pixels wide."""
    pool = draw_specimens(range(classes), shots + queries, size=side)
    support, rest = (part.reshape(-1, *pool.shape[2:]) for part in (pool[:, :shots], pool[:, shots:]))
    return Samples(support, shots, rest, np.repeat(np.arange(classes), queries))


def read_samples(folder: Path, preprocessing: Preprocessing, shots: int, queries: int) -> Samples:
    """Read photographs of up to `MAX_CLASSES` classes: the first `shots`, and up to `queries` after them.

    Photos that cannot be read, and classes of too few photos, are left out.

    Raises:
        DatasetError: There are no two classes of `shots` + 1 photos.
    """
    reader = PhotoReader()
    support, rest, answers = list[npt.NDArray[np.uint8]](), list[npt.NDArray[np.uint8]](), list[int]()
    classes = 0
    for photos in open_dataset(folder).classes.values():
        if classes == MAX_CLASSES or len(photos) <= shots:
            continue
        pixels = [array for _, array in islice(reader.read(photos, preprocessing), shots + queries)]
        if len(pixels) > shots:
            support += pixels[:shots]
            rest += pixels[shots:]
            answers += [classes] * (len(pixels) - shots)
            classes += 1
    if classes < 2:
        raise DatasetError(
            f"{folder} has {classes} classes of {shots + 1} photos or more: comparing needs at least 2 such "
            "classes, a folder for each"
        )
    return Samples(np.stack(support), shots, np.stack(rest), np.array(answers))
