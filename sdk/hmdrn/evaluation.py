"""Episodic accuracy of a bundle, as the papers measure it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.datasets import Dataset
from hmdrn_runtime.episodes import Episode, mean_and_interval, sample_episodes
from hmdrn_runtime.gallery import with_photos
from hmdrn_runtime.matching import RidgeMatcher
from hmdrn_runtime.recognizer import BATCH, Recognizer
from hmdrn_runtime.statistics import PhotoStatistics


@dataclass(frozen=True)
class Setting:
    """N-way K-shot: classes, support photos and query photos of a class, number of episodes, seed."""

    way: int = 5
    shot: int = 5
    queries: int = 16
    episodes: int = 600
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over episodes.

    Attributes:
        accuracy: Mean over episodes, in percent.
        ci95: Half-width of its 95 % interval, in points.
        setting: What was asked for.
        classes: Classes of the data.
        photos: Photos of the data.
        executor: What computed it.
    """

    accuracy: float
    ci95: float
    setting: Setting
    classes: int
    photos: int
    executor: str


@dataclass(frozen=True)
class _Encoded:
    """Every photo of the data once: pixels (N, 84, 84, 3), statistics, and each class's first row."""

    pixels: npt.NDArray[np.uint8]
    statistics: list[PhotoStatistics]
    first: npt.NDArray[np.int64]

    def rows(self, episode: Episode, photos: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rows (way, n) of an episode's photos."""
        rows: npt.NDArray[np.int64] = self.first[np.array(episode.classes)][:, None] + photos
        return rows


def evaluate(
    recognizer: Recognizer,
    dataset: Dataset,
    setting: Setting,
    report: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Evaluation:
    """Episodic accuracy of a recognizer's bundle; its gallery plays no part.

    Args:
        recognizer: Its backend and preprocessing are used.
        dataset: Photographs by class.
        setting: The episodes.
        report: Told of the progress.

    Raises:
        DatasetError: Too few classes or photos for such episodes.
        ImageError: A photo that cannot be read.
    """
    sizes = [len(photos) for photos in dataset.classes.values()]
    episodes = sample_episodes(
        sizes,
        way=setting.way,
        shot=setting.shot,
        queries=setting.queries,
        episodes=setting.episodes,
        seed=setting.seed,
    )
    encoded = _encode(recognizer, dataset, report)
    accuracies = []
    for done, episode in enumerate(episodes):
        accuracies.append(_episode_accuracy(recognizer, encoded, episode))
        report("episodes", done + 1, setting.episodes)
    mean, interval = mean_and_interval(accuracies)
    executor = f"{recognizer.backend.name}, variant {recognizer.bundle.variant}"
    return Evaluation(100 * mean, 100 * interval, setting, len(sizes), sum(sizes), executor)


def _encode(recognizer: Recognizer, dataset: Dataset, report: Callable[[str, int, int], None]) -> _Encoded:
    mode = recognizer.bundle.manifest.input.preprocessing
    pixels: list[npt.NDArray[np.uint8]] = []
    statistics: list[PhotoStatistics] = []
    photos = [photo for members in dataset.classes.values() for photo in members]
    for start in range(0, len(photos), BATCH):
        batch = np.stack([photo.prepare(mode) for photo in photos[start : start + BATCH]])
        pixels.append(batch)
        statistics += recognizer.photo_statistics(batch)
        report("photos", len(statistics), len(photos))
    sizes = [len(members) for members in dataset.classes.values()]
    return _Encoded(np.concatenate(pixels), statistics, np.cumsum([0, *sizes[:-1]]))


def _episode_accuracy(recognizer: Recognizer, encoded: _Encoded, episode: Episode) -> float:
    """Share of an episode's queries that are named rightly, 0-1."""
    matcher = recognizer.matcher
    species = [
        with_photos(None, f"class {i}", [encoded.statistics[row] for row in rows])
        for i, rows in enumerate(encoded.rows(episode, episode.support))
    ]
    operands = matcher.class_operands(species)
    queries = encoded.rows(episode, episode.query)
    rows = queries.ravel()
    if isinstance(matcher, RidgeMatcher):
        # The query statistics are known already: the network need not look again.
        logits = matcher.match([encoded.statistics[row] for row in rows], operands["operator"]).logits
    else:
        logits = matcher.classify(encoded.pixels[rows], matcher.place(operands)).logits
    truth = np.repeat(np.arange(len(species)), queries.shape[1])
    return float((logits.argmax(axis=1) == truth).mean())
