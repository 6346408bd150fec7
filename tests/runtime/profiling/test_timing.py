"""The end of a measurement, the order of its calls, and the time that does not count."""

from __future__ import annotations

import numpy as np
import pytest

from hmdrn_runtime.profiling import timing
from hmdrn_runtime.profiling.timing import TimingPlan, time_interleaved, time_single_stream


class Clock:
    """Time that passes only in calls."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def taking(self, seconds: float, log: list[str] | None = None, name: str = ""):
        def call() -> None:
            self.now += seconds
            if log is not None:
                log.append(name)

        return call


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_a_measurement_lasts_for_both_its_duration_and_its_runs(clock):
    assert len(time_single_stream(clock.taking(0.5), TimingPlan(seconds=4, runs=3, warmup=0))) == 8
    assert len(time_single_stream(clock.taking(0.5), TimingPlan(seconds=1, runs=20, warmup=0))) == 20


def test_a_slow_call_ends_at_the_limit_but_not_before_three_runs(clock):
    plan = TimingPlan(seconds=1, runs=100, warmup=0, limit=10)
    assert len(time_single_stream(clock.taking(2), plan)) == 5
    assert len(time_single_stream(clock.taking(60), plan)) == 3


def test_several_calls_are_made_in_turns(clock):
    log: list[str] = []
    calls = {name: clock.taking(0.1, log, name) for name in "ABC"}
    times = time_interleaved(calls, TimingPlan(seconds=0, runs=4, warmup=0))
    assert "".join(log) == "AABBCC" + 4 * "ABC", "each is warmed up twice, then ABCABC"
    assert {name: len(t) for name, t in times.items()} == {"A": 4, "B": 4, "C": 4}


def test_neither_the_warm_up_nor_the_pause_after_a_call_counts(clock):
    slow_at_first = iter([5.0, 5.0, 5.0])

    def call() -> None:
        clock.now += next(slow_at_first, 1.0)

    times = time_single_stream(call, TimingPlan(seconds=0, runs=6, warmup=14), after=clock.taking(100))
    np.testing.assert_allclose(times, 1.0)


def test_a_quick_call_does_not_prolong_the_turns_of_a_slow_one(clock):
    calls = {"quick": clock.taking(0.001), "slow": clock.taking(0.999)}
    assert len(time_interleaved(calls, TimingPlan(seconds=5, runs=2, warmup=0))["slow"]) == 10


def test_a_turn_of_a_block_is_the_median_of_its_calls_without_the_first(clock):
    durations = [9.0, 9.0]  # the warm-up
    durations += 3 * [50.0, 1.0, 2.0, 6.0]

    def call() -> None:
        clock.now += durations.pop(0)

    times = time_interleaved({"": call}, TimingPlan(seconds=0, runs=3, warmup=0), block=9.0)
    np.testing.assert_allclose(times[""], [2.0, 2.0, 2.0])
    assert durations == []
