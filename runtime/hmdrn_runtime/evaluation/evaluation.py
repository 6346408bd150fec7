"""Episodic accuracy, as the papers measure it, of anything that can name the queries of an episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.datasets.dataset import Dataset, Photo
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.episodes import Episode, mean_and_interval, sample_episodes
from hmdrn_runtime.gallery.gallery import with_photos
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.images.preprocessing import INPUT_SIZE
from hmdrn_runtime.matching.base import Scores
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.recognizer import BATCH, Recognizer

Report = Callable[[str, int, int], None]
"""Progress: what is being done, how much of it is done, and of how much."""


class Preparable(Protocol):
    """A photograph that can become a network's input, such as a `datasets.Photo`."""

    def prepare(self, mode: str, side: int = INPUT_SIZE) -> npt.NDArray[Any]:
        """Return the network's input, RGB uint8 (side, side, 3)."""


@dataclass(frozen=True)
class Setting:
    """N-way K-shot: classes, support photos and query photos of a class, number of episodes, seed."""

    way: int = 5
    shot: int = 5
    queries: int = 16
    episodes: int = 600
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Accuracy over episodes.

    Attributes:
        setting: What was asked for.
        classes: Names of the data's classes.
        photos: Photos of the data.
        executor: What computed it.
        episode_accuracies: Share of its queries that were named rightly for every episode, 0-1, (E,).
        confusion: How many queries of class i (row) were taken for class j, over all episodes, int64 (C, C).
    """

    setting: Setting
    classes: tuple[str, ...]
    photos: int
    executor: str
    episode_accuracies: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Mean over episodes, in percent."""
        return 100 * mean_and_interval(self.episode_accuracies)[0]

    @property
    def ci95(self) -> float:
        """Half-width of the mean's 95 % interval, in points."""
        return 100 * mean_and_interval(self.episode_accuracies)[1]

    @property
    def class_accuracies(self) -> dict[str, float]:
        """Percent of a class's queries that were named rightly, by class; those never drawn are left out."""
        totals = self.confusion.sum(axis=1)
        return {
            name: 100 * float(self.confusion[i, i] / totals[i])
            for i, name in enumerate(self.classes)
            if totals[i]
        }


@dataclass(frozen=True)
class Difference:
    """Accuracy of one model minus that of another on the same episodes, in points, with its 95 % interval."""

    points: float
    ci95: float


class Scorer(ABC):
    """Names the queries of episodes. It looks at every photo once, by `see`, before the first episode."""

    preprocessing: str
    """How it wants whole photos made square; see `images.preprocess`."""
    side: int = INPUT_SIZE
    """Side of its input in pixels."""
    executor: str
    """What computes, for reports."""

    @abstractmethod
    def see(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Take in further photos, uint8 (N, side, side, 3); the first ever seen is row 0."""

    @abstractmethod
    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        """Logits (Q, way) of the photos of rows `query` (Q,), for classes of rows `support` (way, shot)."""


class BundleScorer(Scorer):
    """A bundle as a device runs it; the recognizer's gallery plays no part."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.preprocessing = recognizer.bundle.manifest.input.preprocessing
        self.side = recognizer.bundle.manifest.input.size
        self.executor = f"{recognizer.backend.name}, variant {recognizer.bundle.variant}"
        self._recognizer = recognizer
        self._statistics: list[PhotoStatistics] = []
        self._pixels: list[npt.NDArray[np.uint8]] = []

    def see(self, pixels: npt.NDArray[np.uint8]) -> None:
        """As `Scorer.see`."""
        self._statistics += self._recognizer.photo_statistics(pixels)
        self._pixels += list(pixels)

    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        """As `Scorer.logits`."""
        return self.scores(support, query).logits

    def scores(self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]) -> Scores:
        """Distances and logits of photos of rows `query` (Q,), for classes of rows `support` (way, shot)."""
        matcher = self._recognizer.matcher
        species = [
            with_photos(None, f"class {i}", [self._statistics[row] for row in rows])
            for i, rows in enumerate(support)
        ]
        operands = matcher.class_operands(species)
        if isinstance(matcher, RidgeMatcher):
            # The query statistics are known already: the network need not look again.
            return matcher.match([self._statistics[row] for row in query], operands["operator"])
        placed = matcher.place(operands)
        # In parts: attention weighs every token of each query against every token of all classes.
        parts = [
            matcher.scores({**self._queries(query[i : i + BATCH]), **placed})
            for i in range(0, len(query), BATCH)
        ]
        return Scores(
            {name: np.concatenate([part.distances[name] for part in parts]) for name in parts[0].distances},
            np.concatenate([part.logits for part in parts]),
        )

    def _queries(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        """What the graph `classify` takes of photos."""
        return {"images": np.stack([self._pixels[row] for row in rows])}


class TokenScorer(BundleScorer):
    """Attention: a query's projected tokens are kept, and every episode goes on from them.

    Looking at each photo once takes a fraction of looking at it in every episode. No bundle's backend can
    start a graph between; those that executors and candidates are tried with can.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__(recognizer)
        levels = recognizer.bundle.manifest.network.levels
        names = [f"{kind}_{level.name}" for level in levels for kind in ("query_q", "query_v")]
        self._tokens: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in names}

    def see(self, pixels: npt.NDArray[np.uint8]) -> None:
        """As `Scorer.see`."""
        self._statistics += self._recognizer.photo_statistics(pixels)
        for start in range(0, len(pixels), BATCH):
            seen = self._recognizer.backend.run("explain", {"images": pixels[start : start + BATCH]})
            for name, kept in self._tokens.items():
                kept += list(seen[name].copy())

    def _queries(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        return {name: np.stack([kept[row] for row in rows]) for name, kept in self._tokens.items()}


def evaluate(
    scorer: Scorer,
    classes: Mapping[str, Sequence[Preparable]],
    settings: Sequence[Setting],
    report: Report = lambda what, done, of: None,
) -> list[Evaluation]:
    """Episodic accuracy under several settings; every photo is looked at once.

    Args:
        scorer: A new one.
        classes: Photographs by class, e.g. of `Dataset.classes` or `pooled`.
        settings: The episodes.
        report: Told of the progress.

    Returns:
        One evaluation for each setting, of the same episodes for every scorer.

    Raises:
        DatasetError: Too few classes or photos for such episodes; raised before a photo is read.
        ImageError: A photo that cannot be read.
    """
    sizes = [len(photos) for photos in classes.values()]
    drawn = [
        sample_episodes(sizes, way=s.way, shot=s.shot, queries=s.queries, episodes=s.episodes, seed=s.seed)
        for s in settings
    ]
    photos = [photo for members in classes.values() for photo in members]
    for start in range(0, len(photos), BATCH):
        part = photos[start : start + BATCH]
        scorer.see(np.stack([photo.prepare(scorer.preprocessing, scorer.side) for photo in part]))
        report("photos", start + len(part), len(photos))
    first = np.cumsum([0, *sizes[:-1]])
    evaluations = []
    for setting, episodes in zip(settings, drawn, strict=True):
        accuracies = []
        confusion = np.zeros((len(sizes), len(sizes)), np.int64)
        for episode in episodes:
            truth, answers = _truth_and_answers(scorer, episode, first)
            accuracies.append(float((truth == answers).mean()))
            np.add.at(confusion, (truth, answers), 1)
            report("episodes", len(accuracies), setting.episodes)
        evaluations.append(
            Evaluation(setting, tuple(classes), len(photos), scorer.executor, np.array(accuracies), confusion)
        )
    return evaluations


def difference(one: Evaluation, other: Evaluation) -> Difference:
    """How much better `one` is than `other`, paired episode by episode.

    Raises:
        DatasetError: They are not of the same episodes.
    """
    if (one.setting, one.classes, one.photos) != (other.setting, other.classes, other.photos):
        raise DatasetError(
            "two evaluations of different episodes cannot be paired: use the same data and setting"
        )
    points, interval = mean_and_interval(100 * (one.episode_accuracies - other.episode_accuracies))
    return Difference(points, interval)


def pooled(datasets: Sequence[Dataset]) -> dict[str, tuple[Photo, ...]]:
    """The classes of several data sets as one, for episodes across them; names say where a class is from."""
    return {
        f"{dataset.source.stem}/{name}": photos
        for dataset in datasets
        for name, photos in dataset.classes.items()
    }


def _truth_and_answers(
    scorer: Scorer, episode: Episode, first: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For every query of an episode the class that it is of and the class that it was taken for."""
    drawn = np.array(episode.classes)
    start = first[drawn][:, None]
    logits = scorer.logits(start + episode.support, (start + episode.query).ravel())
    return np.repeat(drawn, episode.query.shape[1]), drawn[logits.argmax(axis=1)]
