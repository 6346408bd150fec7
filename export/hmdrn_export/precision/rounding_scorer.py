"""A bundle whose half results are truly rounded, as a scorer of episodes."""

from __future__ import annotations

from hmdrn_export.precision.rounding_backend import RoundingBackend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.evaluation.evaluation import BundleScorer, TokenScorer
from hmdrn_runtime.recognizer import Recognizer


def rounding_scorer(bundle: Bundle) -> BundleScorer:
    """Scores episodes with a bundle's graphs, every half result rounded to half.

    Args:
        bundle: Opened at the variant to score.
    """
    scorer = BundleScorer if bundle.manifest.network.head == "ridge" else TokenScorer
    return scorer(Recognizer(bundle, RoundingBackend(bundle)))
