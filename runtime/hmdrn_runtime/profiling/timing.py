"""Timing calls as MLPerf's single-stream scenario does: a query is issued when the one before has ended.

Of MLPerf inference (Reddi et al., ISCA 2020) come the warm-up that does not count, and that a measurement
ends when a minimum duration *and* a minimum number of queries are reached.
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
"""Durations of calls in seconds, (runs,), in the order in which they were made."""

Call: TypeAlias = Callable[[], object]
_LEAST = 3


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        seconds: Time that a call is measured for at least, warm-up not counted; of several, on average.
        runs: How often it is measured at least.
        warmup: Seconds of every call before measuring; each is made at least twice.
        limit: Seconds after which a call has been measured for long enough, however few its runs are, if they
            are three: what takes a second need not hold up the rest for minutes.
    """

    seconds: float = 1.0
    runs: int = 100
    warmup: float = 0.2
    limit: float = math.inf

    def over(self, seconds: float, runs: int) -> bool:
        """Whether a call has been measured enough."""
        return (seconds >= self.seconds and runs >= self.runs) or (seconds >= self.limit and runs >= _LEAST)


def single_stream(call: Call, plan: Plan, after: Call = lambda: None) -> Seconds:
    """Time one call over and over; `after` follows each, untimed."""
    return in_turns({"": call}, plan, after=after)[""]


def in_turns(
    calls: Mapping[str, Call], plan: Plan, block: float = 0.0, after: Call = lambda: None
) -> dict[str, Seconds]:
    """Time several calls in turns, ABAB..., so that what disturbs the machine disturbs all of them alike.

    Args:
        calls: By name.
        plan: How long to measure; it holds for every call.
        block: Seconds of a turn. At 0 a turn is a single call. Above, it is a call that is not timed, which
            finds the caches full of the others' data and their threads still waiting, then calls until the
            time is over, and their median.
        after: Called after every turn, untimed.

    Returns:
        Durations by name, all of as many turns; entry i of each is of turn i.
    """
    for call in calls.values():
        _warm_up(call, plan.warmup)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    spent, turns = 0.0, 0
    while not plan.over(spent / len(calls), turns):
        for name, call in calls.items():
            times = _turn(call, block)
            taken[name].append(times[0] if len(times) == 1 else float(np.median(times)))
            spent += sum(times)
            after()
        turns += 1
    return {name: np.array(times) for name, times in taken.items()}


def duration(call: Call) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _turn(call: Call, block: float) -> list[float]:
    if block <= 0:
        return [duration(call)]
    call()
    times: list[float] = []
    end = time.perf_counter() + block
    while not times or time.perf_counter() < end:
        times.append(duration(call))
    return times


def _warm_up(call: Call, seconds: float) -> None:
    end = time.perf_counter() + seconds
    call()
    call()
    while time.perf_counter() < end:
        call()
