"""What classification and enrollment answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hmdrn_runtime.matching import Scores


@dataclass(frozen=True)
class Match:
    """One species as an answer.

    Attributes:
        label: Its name.
        probability: Softmax of the logits over all species of the gallery, 0-1.
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


@dataclass(frozen=True)
class EnrollmentReport:
    """What an enrollment did.

    Attributes:
        label: The species.
        added: Digests of the photos that were new to it.
        duplicates: Digests of photos that it had already, or that were given twice.
        shots: Photos that it has now.
        also_in: Other species that hold one of these photos: one of the labels is wrong.
        similar: Other species whose labels differ from this one in case or blanks alone.
    """

    label: str
    added: tuple[str, ...]
    duplicates: tuple[str, ...]
    shots: int
    also_in: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()


def predictions(labels: Sequence[str], scores: Scores, top: int) -> list[Prediction]:
    """Rank the species for every photo.

    Args:
        labels: The classes' names, in the order of the scores.
        scores: Of B photos.
        top: Species in a ranking at most.

    Returns:
        B predictions; of equal logits the first label comes first.
    """
    logits = scores.logits.astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    answers = []
    for row, order in enumerate(np.argsort(-logits, axis=1, kind="stable")[:, : max(top, 2)]):
        matches = tuple(
            Match(
                labels[c],
                float(probabilities[row, c]),
                float(logits[row, c]),
                {name: float(d[row, c]) for name, d in scores.distances.items()},
            )
            for c in order
        )
        second = matches[1].probability if len(matches) > 1 else 0.0
        best = matches[0]
        answers.append(
            Prediction(best.label, best.probability, best.probability - second, None, matches[:top])
        )
    return answers
