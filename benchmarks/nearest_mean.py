"""Nearest means of pooled features: what one would use without training for few shots."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.evaluation.evaluation import Scorer
from hmdrn_runtime.images.preprocessing import Preprocessing

CENTER_CLASSES = 30
"""Classes of each train split that give one photo each to the center of the features."""

Features: TypeAlias = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""From photos, uint8 (N, side, side, 3), to pooled features (N, width)."""


class NearestMeanScorer(Scorer):
    """Features, centered and of unit length, compared by cosine with the mean of each class.

    Args:
        features: The network.
        preprocessing: Its input.
        executor: The network's name and what runs it.
        center: Subtracted from all features, as `compute_center` returns it.
    """

    def __init__(
        self, features: Features, preprocessing: Preprocessing, executor: str, center: npt.NDArray[np.float32]
    ) -> None:
        self.preprocessing, self.executor = preprocessing, executor
        self._features, self._center = features, center
        self._units: list[npt.NDArray[np.float32]] = []

    def add_photos(self, pixels: npt.NDArray[np.uint8]) -> None:
        """See `Scorer.add_photos`."""
        self._units.extend(scale_to_unit(self._features(pixels) - self._center))

    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        """See `Scorer.logits`: cosines."""
        units = np.stack(self._units)
        cosines: npt.NDArray[np.float32] = units[query] @ scale_to_unit(units[support].mean(axis=1)).T
        return cosines


def compute_center(
    features: Features, preprocessing: Preprocessing, data: Iterable[Path]
) -> npt.NDArray[np.float32]:
    """Return the mean features (width,) of photos of `CENTER_CLASSES` classes of each train split."""
    photos = [
        members[0].prepare(preprocessing)
        for path in data
        for members in list(open_dataset(path, "train").classes.values())[:CENTER_CLASSES]
    ]
    center: npt.NDArray[np.float32] = np.concatenate([features(photo[None]) for photo in photos]).mean(axis=0)
    return center


def scale_to_unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return rows (N, width) at unit length; a row of zeros stays so."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: npt.NDArray[np.float32] = rows / np.maximum(lengths, 1e-12)
    return units
