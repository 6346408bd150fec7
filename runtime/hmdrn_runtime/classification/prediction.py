"""Predictions: species ranked by probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.matching.base import Scores
from hmdrn_runtime.open_set.background import known_scores
from hmdrn_runtime.open_set.threshold import Calibration


@dataclass(frozen=True)
class Match:
    """One species of a ranking.

    Attributes:
        label: Its name.
        probability: Softmax of the logits over all species of the gallery, 0-1; calibrated if the gallery
            is.
        logit: Its logit.
        distances: Squared reconstruction distances by level, at least 0.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> best = birds.classify("a.jpg").ranking[0]
        >>> best.label, sorted(best.distances)
        ('Sooty Albatross', ['high', 'mid'])
    """

    label: str
    probability: float
    logit: float
    distances: Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """The recognized species of a photo.

    Attributes:
        label: The best species.
        probability: Its probability, 0-1.
        margin: Its probability less the second's, 0-1; its own probability if it is the only species.
        known: True if the photo shows an enrolled species at all; None without a calibrated threshold.
        ranking: The best species, best first.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> prediction = birds.classify("a.jpg")
        >>> prediction.label, 0 < prediction.probability <= 1, prediction.known
        ('Sooty Albatross', True, None)
    """

    label: str
    probability: float
    margin: float
    known: bool | None
    ranking: tuple[Match, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**asdict(self), "ranking": [asdict(match) for match in self.ranking]}


def rank_species(
    labels: Sequence[str], scores: Scores, top: int, calibration: Calibration | None = None
) -> list[Prediction]:
    """Rank the species for every photo.

    Args:
        labels: The classes' names, in the order of the scores.
        scores: Scores of B photos; with a calibration followed by those for the background species.
        top: Species in a ranking at most.
        calibration: The open-set threshold and the temperature of probabilities.

    Returns:
        B predictions; of equal logits the first label comes first.
    """
    logits = scores.logits[:, : len(labels)].astype(np.float64)
    known: list[bool | None] = [None] * len(logits)
    scaled = logits
    if calibration is not None:
        accepted = known_scores(logits, scores.logits[:, len(labels) :]) >= calibration.threshold
        known = [bool(value) for value in accepted]
        scaled = logits / calibration.temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    answers = []
    for row, order in enumerate(_top_classes(values, max(top, 2)) for values in logits):
        distances = [table[row, order].tolist() for table in scores.distances.values()]
        matches = tuple(
            Match(labels[c], probability, logit, dict(zip(scores.distances, by_level, strict=True)))
            for c, probability, logit, *by_level in zip(
                order.tolist(),
                probabilities[row, order].tolist(),
                logits[row, order].tolist(),
                *distances,
                strict=True,
            )
        )
        best, second = matches[0], matches[1].probability if len(matches) > 1 else 0.0
        answers.append(
            Prediction(best.label, best.probability, best.probability - second, known[row], matches[:top])
        )
    return answers


def _top_classes(logits: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.intp]:
    """Return the k best classes, best first, without sorting all of them; of equal ones the first."""
    if k >= len(logits):
        return np.argsort(-logits, kind="stable")
    places = np.flatnonzero(logits >= np.partition(logits, -k)[-k])
    return places[np.argsort(-logits[places], kind="stable")][:k]
