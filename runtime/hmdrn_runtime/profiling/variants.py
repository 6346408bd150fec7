"""Comparison of the variants of one bundle on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from hmdrn_runtime.images.decoding import ImageSource
from hmdrn_runtime.profiling.compare import BLOCK
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.timing import TimingPlan, time_interleaved
from hmdrn_runtime.recognizer import Recognizer


def measure_variants(
    recognizers: Mapping[str, Recognizer], source: ImageSource, plan: TimingPlan
) -> dict[str, Latency]:
    """Time whole classifications by each variant's recognizer, in turns.

    Args:
        recognizers: Recognizers by variant, each with at least one species.
        source: The image to classify.
        plan: Duration of the measurement, for each variant.
    """
    calls = {name: partial(recognizer.classify, source) for name, recognizer in recognizers.items()}
    times = time_interleaved(calls, plan, BLOCK)
    return {name: Latency.from_seconds(seconds) for name, seconds in times.items()}
