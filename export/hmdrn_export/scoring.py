"""A bundle whose half results are truly rounded, as a scorer of episodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hmdrn_export.rounding import RoundingBackend
from hmdrn_runtime.bundle import Bundle
from hmdrn_runtime.evaluation import BundleScorer, Scorer
from hmdrn_runtime.gallery import with_photos
from hmdrn_runtime.matching import open_matcher
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.statistics import PhotoStatistics


def rounding_scorer(bundle: Bundle) -> Scorer:
    """Scores episodes with a bundle's graphs, every half result rounded to half.

    Args:
        bundle: Opened at the variant to score.
    """
    backend = RoundingBackend(bundle)
    if bundle.manifest.network.head == "ridge":
        return BundleScorer(Recognizer(bundle, backend))
    return _TokenScorer(bundle, backend)


class _TokenScorer(Scorer):
    """Attention: a query's tokens are kept, and every episode goes on from them in the graph `classify`."""

    def __init__(self, bundle: Bundle, backend: RoundingBackend) -> None:
        self.preprocessing = bundle.manifest.input.preprocessing
        self.executor = f"{backend.name}, variant {bundle.variant}"
        self._levels = [level.name for level in bundle.manifest.network.levels]
        self._backend = backend
        self._matcher = open_matcher(bundle.manifest.network, backend, bundle.variant)
        self._statistics: list[PhotoStatistics] = []
        self._tokens: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in self._levels}

    def see(self, pixels: npt.NDArray[np.uint8]) -> None:
        """As `Scorer.see`."""
        self._statistics += self._matcher.photo_statistics(pixels)
        seen = self._backend.run("explain", {"images": pixels})
        for name in self._levels:
            self._tokens[name] += list(seen[f"query_tokens_{name}"])

    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        """As `Scorer.logits`."""
        species = [
            with_photos(None, f"class {i}", [self._statistics[row] for row in rows])
            for i, rows in enumerate(support)
        ]
        tokens = {
            f"query_tokens_{name}": np.stack([self._tokens[name][row] for row in query])
            for name in self._levels
        }
        return self._backend.run("classify", {**tokens, **self._matcher.class_operands(species)})["logits"]
