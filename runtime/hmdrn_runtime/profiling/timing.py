"""Timing of calls as in MLPerf's single-stream scenario: each query is issued when the previous one ends.

MLPerf inference (Reddi et al., ISCA 2020) also gives the warm-up, which does not count, and the rule that a
measurement ends when a minimum duration *and* a minimum number of queries are reached.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Seconds: TypeAlias = npt.NDArray[np.float64]
"""Durations of calls in seconds, (runs,), in the order of the calls."""

Call: TypeAlias = Callable[[], object]
_MIN_RUNS = 3


@dataclass(frozen=True)
class TimingPlan:
    """Duration of a measurement.

    Attributes:
        seconds: Minimum time of a call's measurement, without warm-up; the average of several calls.
        runs: Minimum number of runs.
        warmup: Seconds of warm-up for every call; each is made at least twice.
        limit: Seconds after which a measurement ends with fewer runs, but at least three: slow calls need not
            take minutes.
    """

    seconds: float = 1.0
    runs: int = 100
    warmup: float = 0.2
    limit: float = math.inf

    def is_complete(self, seconds: float, runs: int) -> bool:
        """Return True if a call has been measured enough."""
        complete = seconds >= self.seconds and runs >= self.runs
        return complete or (seconds >= self.limit and runs >= _MIN_RUNS)


def time_single_stream(call: Call, plan: TimingPlan, after: Call = lambda: None) -> Seconds:
    """Time one call repeatedly; `after` follows each, untimed."""
    return time_interleaved({"": call}, plan, after=after)[""]


def time_interleaved(
    calls: Mapping[str, Call], plan: TimingPlan, block: float = 0.0, after: Call = lambda: None
) -> dict[str, Seconds]:
    """Time several calls in turns, ABAB..., so that disturbances affect all of them alike.

    Args:
        calls: Calls by name.
        plan: Duration of the measurement, for each call.
        block: Seconds of a turn. At 0 a turn is a single call. Above 0 it is the median of as many calls as
            fit, after one untimed call: that one finds the caches full of the others' data and their threads
            still spinning.
        after: Called after every turn, untimed.

    Returns:
        Durations by name, all of as many turns; entry i of each belongs to turn i.
    """
    for call in calls.values():
        _warm_up(call, plan.warmup)
    durations: dict[str, list[float]] = {name: [] for name in calls}
    total, turns = 0.0, 0
    while not plan.is_complete(total / len(calls), turns):
        for name, call in calls.items():
            times = _time_turn(call, block)
            durations[name].append(times[0] if len(times) == 1 else float(np.median(times)))
            total += sum(times)
            after()
        turns += 1
    return {name: np.array(times) for name, times in durations.items()}


def time_call(call: Call) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _time_turn(call: Call, block: float) -> list[float]:
    if block <= 0:
        return [time_call(call)]
    call()
    times: list[float] = []
    end = time.perf_counter() + block
    while not times or time.perf_counter() < end:
        times.append(time_call(call))
    return times


def _warm_up(call: Call, seconds: float) -> None:
    end = time.perf_counter() + seconds
    call()
    call()
    while time.perf_counter() < end:
        call()
