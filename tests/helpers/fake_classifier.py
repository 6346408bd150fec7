"""A classifier whose predictions a test chooses."""

from __future__ import annotations

from PIL import Image

from hmdrn_runtime.classification.prediction import Match, Prediction


def make_prediction(label: str, probability: float = 0.9, known: bool | None = True, other: str = "other"):
    """A prediction of two species; `other` has the rest of the probability."""
    ranking = (
        Match(label, probability, 0.0, {}),
        Match(other, 1 - probability, 0.0, {}),
    )
    best = max(ranking, key=lambda match: match.probability)
    return Prediction(best.label, best.probability, abs(2 * probability - 1), known, ranking)


class FakeClassifier:
    """Gives every image the next of some predictions, the last one for ever."""

    def __init__(self, *predictions: Prediction) -> None:
        self.predictions = list(predictions) or [make_prediction("Jay")]
        self.images: list[Image.Image] = []

    def classify_batch(self, images):
        results = []
        for image in images:
            self.images.append(image)
            results.append(self.predictions[min(len(self.images), len(self.predictions)) - 1])
        return results
