"""Two bundles against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hmdrn_runtime.images.preprocessing import ImageSource
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.ratios import Ratio, ratio_of_medians
from hmdrn_runtime.profiling.timing import Call, Plan, in_turns
from hmdrn_runtime.recognizer import Recognizer

_BLOCK = 0.02


@dataclass(frozen=True)
class Comparison:
    """One source classified by two recognizers in turns.

    Attributes:
        first: Latency of the first, of turns of several calls each.
        second: The same of the second.
        ratio: Median of the first over that of the second: above 1 the first is slower.
    """

    first: Latency
    second: Latency
    ratio: Ratio

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        latencies = {"first": self.first.to_dict(), "second": self.second.to_dict()}
        return {**latencies, "ratio": self.ratio.to_dict()}


def compare(
    first: Recognizer,
    second: Recognizer,
    sources: Mapping[str, ImageSource],
    plan: Plan,
    after: Call = lambda: None,
) -> dict[str, Comparison]:
    """Classify every source with both, ABAB....

    Args:
        first: One recognizer.
        second: The other.
        sources: What to classify, by name.
        plan: How long to measure each.
        after: Called between the turns, untimed.
    """
    found = {}
    for name, source in sources.items():
        calls: dict[str, Call] = {
            "first": _classifying(first, source),
            "second": _classifying(second, source),
        }
        times = in_turns(calls, plan, _BLOCK, after)
        one, two = times["first"], times["second"]
        found[name] = Comparison(Latency.of(one), Latency.of(two), ratio_of_medians(one, two))
    return found


def _classifying(recognizer: Recognizer, source: ImageSource) -> Call:
    return lambda: recognizer.classify(source)
