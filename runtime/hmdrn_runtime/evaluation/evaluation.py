"""Episodic accuracy, as the papers measure it, of anything that classifies the queries of an episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.datasets.reading import Preparable, ReadClasses, read_classes
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.episodes import mean_and_interval, sample_episodes
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.matching.base import BATCH, Scores
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.progress import ProgressCallback, ignore_progress
from hmdrn_runtime.recognizer import Recognizer


@dataclass(frozen=True)
class EpisodeSetting:
    """N-way K-shot: classes, support and query photos per class, number of episodes, seed.

    Examples:
        >>> hmdrn.EpisodeSetting(way=5, shot=1, queries=15, episodes=600).way
        5
    """

    way: int = 5
    shot: int = 5
    queries: int = 16
    episodes: int = 600
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Accuracy over episodes.

    Attributes:
        setting: The episodes.
        classes: Names of the data's classes.
        photos: Number of photos of the data that can be read.
        executor: The backend and variant that computed it.
        episode_accuracies: Share of correctly classified queries of every episode, 0-1, (E,).
        confusion: Queries of class i (row) that were classified as class j, over all episodes, int64 (C, C).
        unreadable: A message for each photo that cannot be read and was left out.

    Examples:
        >>> classes = hmdrn.open_dataset("photos").classes
        >>> setting = hmdrn.EpisodeSetting(way=5, shot=5, queries=5, episodes=20)
        >>> scorer = hmdrn.BundleScorer(hmdrn.load("default"))
        >>> [evaluation] = hmdrn.evaluate(scorer, classes, [setting])
        >>> 0 <= evaluation.accuracy <= 100
        True
    """

    setting: EpisodeSetting
    classes: tuple[str, ...]
    photos: int
    executor: str
    episode_accuracies: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]
    unreadable: tuple[str, ...] = ()

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
        """Percent of correctly classified queries, by class, without the classes never drawn."""
        counts = zip(self.classes, self.confusion.diagonal(), self.confusion.sum(axis=1), strict=True)
        return {name: 100 * float(correct / total) for name, correct, total in counts if total}


@dataclass(frozen=True)
class AccuracyDifference:
    """Accuracy of one model minus that of another on the same episodes, in points, with its 95 % interval.

    Examples:
        >>> hmdrn.AccuracyDifference(points=1.5, ci95=0.4).points
        1.5
    """

    points: float
    ci95: float


class Scorer(ABC):
    """A classifier of episodes' queries that reads every photo once, before the first episode.

    Examples:
        >>> issubclass(hmdrn.BundleScorer, hmdrn.Scorer)
        True
    """

    preprocessing: Preprocessing
    """Mode that makes whole photos square; see `preprocessing.preprocess`."""
    executor: str
    """The backend and variant that compute, for reports."""

    @abstractmethod
    def add_photos(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Read further photos, uint8 (N, side, side, 3); the first one of all is row 0."""

    @abstractmethod
    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        """Return logits (Q, way) of photos in rows `query` (Q,) for classes of rows `support` (way, shot)."""


class BundleScorer(Scorer):
    """A bundle as a device runs it; the recognizer's gallery is not used.

    Examples:
        >>> scorer = hmdrn.BundleScorer(hmdrn.load("default"))
        >>> scorer.preprocessing.mode
        'crop'
    """

    def __init__(self, recognizer: Recognizer) -> None:
        check_kind(recognizer, Recognizer, "recognizer", "pass what hmdrn.load returns", DatasetError)
        self.preprocessing: Preprocessing = recognizer.preprocessing
        self.executor: str = f"{recognizer.backend.name}, variant {recognizer.bundle.variant}"
        self._recognizer = recognizer
        self._statistics: list[PhotoStatistics] = []
        self._query_inputs: dict[str, list[npt.NDArray[Any]]] = {"images": []}

    def add_photos(self, pixels: npt.NDArray[np.uint8]) -> None:
        """See `Scorer.add_photos`."""
        self._statistics += self._recognizer.matcher.compute_statistics(pixels)
        for start in range(0, len(pixels), BATCH):
            inputs = self._compute_query_inputs(pixels[start : start + BATCH])
            for name, rows in self._query_inputs.items():
                rows += list(inputs[name].copy())

    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        """See `Scorer.logits`."""
        return self.scores(support, query).logits

    def scores(self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]) -> Scores:
        """Return distances and logits of photos `query` (Q,) for classes of photos `support` (way, shot)."""
        matcher = self._recognizer.matcher
        species = [
            extend_species(None, f"class {i}", [self._statistics[row] for row in rows])
            for i, rows in enumerate(support)
        ]
        operands = matcher.class_operands(species)
        if isinstance(matcher, RidgeMatcher):
            # The query statistics are known already: the network need not run again.
            return matcher.match([self._statistics[row] for row in query], operands["operator"])
        placed = matcher.place(operands)
        # In batches: attention weighs every token of each query against every token of all classes.
        parts = []
        for start in range(0, len(query), BATCH):
            batch = query[start : start + BATCH]
            inputs = {
                name: np.stack([rows[row] for row in batch]) for name, rows in self._query_inputs.items()
            }
            parts.append(matcher.scores({**inputs, **placed}))
        return Scores(
            {name: np.concatenate([part.distances[name] for part in parts]) for name in parts[0].distances},
            np.concatenate([part.logits for part in parts]),
        )

    def _compute_query_inputs(self, pixels: npt.NDArray[np.uint8]) -> Mapping[str, npt.NDArray[Any]]:
        """Return the inputs of the graph `classify` for photos."""
        return {"images": pixels}


class TokenScorer(BundleScorer):
    """An attention scorer that keeps a query's projected tokens for all episodes.

    Computing the tokens once takes a fraction of doing so in every episode. It needs a backend that can start
    a graph at the tokens: no bundle's backend can, the in-memory ones of experiments can.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__(recognizer)
        levels = recognizer.bundle.manifest.network.levels
        self._query_inputs = {
            f"{kind}_{level.name}": [] for level in levels for kind in ("query_q", "query_v")
        }

    def _compute_query_inputs(self, pixels: npt.NDArray[np.uint8]) -> Mapping[str, npt.NDArray[Any]]:
        return self._recognizer.backend.run("explain", {"images": pixels})


def evaluate(
    scorer: Scorer,
    classes: Mapping[str, Sequence[Preparable]],
    settings: Sequence[EpisodeSetting],
    report: ProgressCallback = ignore_progress,
) -> list[Evaluation]:
    """Measure episodic accuracy under several settings, reading every photo once.

    Photos that cannot be read are left out, and named in the evaluations.

    Args:
        scorer: A scorer without photos.
        classes: Photos by class, e.g. of `Dataset.classes` or `pool_classes`.
        settings: The episodes.
        report: Called with the progress.

    Returns:
        One evaluation for each setting, of the same episodes for every scorer.

    Raises:
        DatasetError: Too few classes or photos for such episodes; raised before a photo is read, or for lack
            of readable ones after.

    Examples:
        >>> birds = hmdrn.load("default")
        >>> classes = hmdrn.open_dataset("photos").classes
        >>> setting = hmdrn.EpisodeSetting(way=5, shot=1, queries=5, episodes=20)
        >>> [evaluation] = hmdrn.evaluate(hmdrn.BundleScorer(birds), classes, [setting])
        >>> 0 <= evaluation.accuracy <= 100
        True
    """
    check_kind(scorer, Scorer, "scorer", "pass a hmdrn.BundleScorer", DatasetError)
    check_kind(classes, Mapping, "classes", "pass photos by class, as Dataset.classes", DatasetError)
    if not isinstance(settings, Sequence) or not all(isinstance(s, EpisodeSetting) for s in settings):
        raise DatasetError(f"settings is {settings!r}: pass a list of hmdrn.EpisodeSetting")
    for setting in settings:
        sample_episodes([len(photos) for photos in classes.values()], **asdict(setting))  # raises if too few
    read = read_classes(classes, scorer.preprocessing, BATCH, scorer.add_photos, report)
    return evaluate_episodes(scorer, read, settings, report)


def evaluate_episodes(
    scorer: Scorer,
    classes: ReadClasses,
    settings: Sequence[EpisodeSetting],
    report: ProgressCallback = ignore_progress,
) -> list[Evaluation]:
    """Measure episodic accuracy on the photos that a scorer has read; see `evaluate`."""
    sizes = list(classes.sizes.values())
    runs = [sample_episodes(sizes, **asdict(setting)) for setting in settings]
    first_rows = np.cumsum([0, *sizes[:-1]])
    evaluations = []
    for setting, episodes in zip(settings, runs, strict=True):
        accuracies = []
        confusion = np.zeros((len(sizes), len(sizes)), np.int64)
        for episode in episodes:
            drawn = np.array(episode.classes)
            rows = first_rows[drawn][:, None]
            logits = scorer.logits(rows + episode.support, (rows + episode.query).ravel())
            truth, answers = np.repeat(drawn, setting.queries), drawn[logits.argmax(axis=1)]
            accuracies.append(float((truth == answers).mean()))
            np.add.at(confusion, (truth, answers), 1)
            report("episodes", len(accuracies), setting.episodes)
        evaluations.append(
            Evaluation(
                setting,
                tuple(classes.sizes),
                sum(sizes),
                scorer.executor,
                np.array(accuracies),
                confusion,
                classes.unreadable,
            )
        )
    return evaluations


def compare_accuracy(candidate: Evaluation, baseline: Evaluation) -> AccuracyDifference:
    """Return the accuracy of a candidate minus that of a baseline, paired by episode.

    Raises:
        DatasetError: They are not of the same episodes.
    """
    for evaluation in (candidate, baseline):
        check_kind(evaluation, Evaluation, "an evaluation", "pass what hmdrn.evaluate returns", DatasetError)
    if (candidate.setting, candidate.classes, candidate.photos) != (
        baseline.setting,
        baseline.classes,
        baseline.photos,
    ):
        raise DatasetError(
            "two evaluations of different episodes cannot be paired: use the same data and setting"
        )
    points, interval = mean_and_interval(100 * (candidate.episode_accuracies - baseline.episode_accuracies))
    return AccuracyDifference(points, interval)
