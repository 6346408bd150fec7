"""From a gallery's statistics to logits, for each kind of reconstruction head."""

from __future__ import annotations

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.manifest import Network
from hmdrn_runtime.matching.attention import AttentionMatcher, support_tokens
from hmdrn_runtime.matching.base import Indexed, Matcher, Operands, Scores
from hmdrn_runtime.matching.ridge import OUTSIDE, SOLVE_BATCH, UNCONVERGED, RidgeMatcher

__all__ = [
    "OUTSIDE",
    "SOLVE_BATCH",
    "UNCONVERGED",
    "AttentionMatcher",
    "Indexed",
    "Matcher",
    "Operands",
    "RidgeMatcher",
    "Scores",
    "open_matcher",
    "support_tokens",
]


def open_matcher(network: Network, backend: Backend, variant: str) -> RidgeMatcher | AttentionMatcher:
    """The matcher of a network's head."""
    kind = RidgeMatcher if network.head == "ridge" else AttentionMatcher
    return kind(network, backend, variant)
