"""What classification and enrollment answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.matching.base import Scores
from hmdrn_runtime.open_set.background import scores as known_scores
from hmdrn_runtime.open_set.threshold import Calibration


@dataclass(frozen=True)
class Match:
    """One species as an answer.

    Attributes:
        label: Its name.
        probability: Softmax of the logits over all species of the gallery, 0-1; calibrated where the
            gallery is.
        logit: Its logit.
        distances: Squared reconstruction distances by level, at least 0.
    """

    label: str
    probability: float
    logit: float
    distances: Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """What a photo shows.

    Attributes:
        label: The best species.
        probability: Its probability, 0-1.
        margin: How far its probability is above the second's, 0-1; its own where it is the only species.
        known: Whether the photo shows an enrolled species at all; None where no threshold was calibrated.
        ranking: The best species, best first.
    """

    label: str
    probability: float
    margin: float
    known: bool | None
    ranking: tuple[Match, ...]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "label": self.label,
            "known": self.known,
            "probability": self.probability,
            "margin": self.margin,
            "ranking": [
                {
                    "label": m.label,
                    "probability": m.probability,
                    "logit": m.logit,
                    "distances": dict(m.distances),
                }
                for m in self.ranking
            ],
        }


def predictions(
    labels: Sequence[str], scores: Scores, top: int, calibration: Calibration | None = None
) -> list[Prediction]:
    """Rank the species for every photo.

    Args:
        labels: The classes' names, in the order of the scores.
        scores: Of B photos. With a calibration, those for the background species come after the classes'.
        top: Species in a ranking at most.
        calibration: Says what is known, and makes probabilities honest.

    Returns:
        B predictions; of equal logits the first label comes first.
    """
    logits = scores.logits[:, : len(labels)].astype(np.float64)
    known: list[bool | None] = [None] * len(logits)
    scaled = logits
    if calibration is not None:
        found = known_scores(logits, scores.logits[:, len(labels) :])
        known = [bool(one) for one in found >= calibration.threshold]
        scaled = logits / calibration.temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    answers = []
    for row, order in enumerate(_best(of, max(top, 2)) for of in logits):
        distances = [table[row, order].tolist() for table in scores.distances.values()]
        matches = tuple(
            Match(labels[c], probability, logit, dict(zip(scores.distances, of_levels, strict=True)))
            for c, probability, logit, *of_levels in zip(
                order.tolist(),
                probabilities[row, order].tolist(),
                logits[row, order].tolist(),
                *distances,
                strict=True,
            )
        )
        second = matches[1].probability if len(matches) > 1 else 0.0
        best = matches[0]
        answers.append(
            Prediction(best.label, best.probability, best.probability - second, known[row], matches[:top])
        )
    return answers


def _best(logits: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.intp]:
    """The k best classes, best first, without sorting all of them; of equal ones the first."""
    if k >= len(logits):
        return np.argsort(-logits, kind="stable")
    places = np.flatnonzero(logits >= np.partition(logits, -k)[-k])
    return places[np.argsort(-logits[places], kind="stable")][:k]
