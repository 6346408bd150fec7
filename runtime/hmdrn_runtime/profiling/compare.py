"""Comparison of two bundles' latencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from hmdrn_runtime.images.decoding import ImageSource
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.ratios import Ratio, ratio_of_medians
from hmdrn_runtime.profiling.timing import Call, TimingPlan, time_interleaved
from hmdrn_runtime.recognizer import Recognizer

BLOCK = 0.02
"""Seconds of a turn."""


@dataclass(frozen=True)
class Comparison:
    """One source classified by two recognizers in turns of several calls each.

    Attributes:
        first: Latency of the first recognizer.
        second: Latency of the second one.
        ratio: Median of the first over that of the second: above 1 the first is slower.
    """

    first: Latency
    second: Latency
    ratio: Ratio


def compare_recognizers(
    first: Recognizer,
    second: Recognizer,
    sources: Mapping[str, ImageSource],
    plan: TimingPlan,
    after: Call = lambda: None,
) -> dict[str, Comparison]:
    """Classify every source with both recognizers in turns, ABAB....

    Args:
        first: One recognizer.
        second: The other one.
        sources: Images to classify, by name.
        plan: Duration of each measurement.
        after: Called between the turns, untimed.
    """
    comparisons = {}
    for name, source in sources.items():
        calls = {"first": partial(first.classify, source), "second": partial(second.classify, source)}
        times = time_interleaved(calls, plan, BLOCK, after)
        ratio = ratio_of_medians(times["first"], times["second"])
        comparisons[name] = Comparison(
            Latency.from_seconds(times["first"]), Latency.from_seconds(times["second"]), ratio
        )
    return comparisons
