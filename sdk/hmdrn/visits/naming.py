"""The name of a visit, by the predictions for all of its frames or pictures."""

from __future__ import annotations

from hmdrn.visits.visit import Naming
from hmdrn_runtime.classification.prediction import Prediction


class NameTally:
    """Averages predictions: a visit is unknown if most of them are, else of the most probable species.

    Every frame counts the same: a smoothed label forgets, and a subject that leaves is blurred at the end.
    """

    def __init__(self) -> None:
        self._known: dict[str, float] = {}
        self._all: dict[str, float] = {}
        self._scores: list[float] = [0.0, 0.0]  # sum and number
        self._unknown = 0
        self._calibrated = False
        self.count: int = 0

    def add(self, prediction: Prediction) -> None:
        """Add the prediction for one frame."""
        self.count += 1
        self._unknown += prediction.known is False
        self._calibrated |= prediction.known is not None
        for match in prediction.ranking:
            self._all[match.label] = self._all.get(match.label, 0.0) + match.probability
            if prediction.known is not False:
                self._known[match.label] = self._known.get(match.label, 0.0) + match.probability
        score = getattr(prediction, "score", None)
        if score is not None:
            self._scores = [self._scores[0] + score, self._scores[1] + 1]

    def result(self, model: str, generation: int) -> Naming:
        """Return the name by the predictions so far, of which there is at least one.

        Args:
            model: Fingerprint of the network.
            generation: Generation of the gallery.
        """
        nearest = max(self._all, key=self._all.__getitem__, default=None)
        score = self._scores[0] / self._scores[1] if self._scores[1] else None
        known = self.count - self._unknown
        if 2 * known < self.count or not self._known:
            known_flag = False if self._calibrated else None
            return Naming(None, known_flag, None, score, nearest, model, generation)
        label = max(self._known, key=self._known.__getitem__)
        probability = min(self._known[label] / known, 1.0)
        return Naming(
            label, True if self._calibrated else None, probability, score, nearest, model, generation
        )
