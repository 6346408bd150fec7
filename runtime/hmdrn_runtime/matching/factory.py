"""Choice of the matcher for a network's reconstruction head."""

from __future__ import annotations

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.matching.attention import AttentionMatcher
from hmdrn_runtime.matching.ridge import RidgeMatcher


def open_matcher(network: Network, backend: Backend, variant: str) -> RidgeMatcher | AttentionMatcher:
    """The matcher of a network's head."""
    kind = RidgeMatcher if network.head == "ridge" else AttentionMatcher
    return kind(network, backend, variant)
