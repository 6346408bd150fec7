"""Percentiles, spread and throughput of durations that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmdrn_runtime.profiling.latency import UNSTABLE, Latency, percentile, relative_spread, throughput

durations = st.lists(st.floats(1e-6, 10), min_size=1, max_size=60).map(np.array)


@given(durations, st.floats(0.1, 100))
def test_a_percentile_is_the_least_duration_that_so_many_do_not_exceed(seconds, share):
    value = percentile(seconds, share)
    assert value in seconds
    required = math.ceil(len(seconds) * share / 100)
    assert (seconds <= value).sum() >= required
    assert (seconds < value).sum() < required


def test_percentiles_of_a_hundred_durations():
    seconds = np.random.default_rng(0).permutation(np.arange(1, 101)) / 1e3
    latency = Latency.from_seconds(seconds)
    assert (latency.p50, latency.p90, latency.p99) == pytest.approx((50, 90, 99))
    assert latency.mean == pytest.approx(50.5)
    assert latency.runs == 100


def test_single_late_calls_do_not_make_a_run_unstable():
    seconds = np.random.default_rng(1).normal(1e-3, 1e-5, 500)
    seconds[::17] *= 8
    assert not Latency.from_seconds(seconds).unstable
    assert relative_spread(seconds) < 0.01


def test_a_clock_that_slows_down_makes_a_run_unstable():
    seconds = np.random.default_rng(1).normal(1e-3, 1e-5, 500)
    seconds[250:] *= 1.06
    latency = Latency.from_seconds(seconds)
    assert latency.unstable
    # Ten stretches, half of them 6 % up: the deviation is 3 % of the mean.
    assert latency.spread == pytest.approx(0.03 / 1.03, abs=2e-3)
    assert UNSTABLE == 0.025


def test_too_few_runs_have_no_spread():
    assert relative_spread(np.array([1.0, 9.0, 1.0, 9.0, 1.0, 9.0, 1.0, 9.0, 1.0])) is None
    assert not Latency.from_seconds(np.array([1.0, 2.0])).unstable
    assert relative_spread(np.repeat([1.0, 3.0], 5)) == pytest.approx(0.5)


def test_durations_below_the_clocks_resolution_have_no_spread():
    latency = Latency.from_seconds(np.zeros(50))
    assert latency.spread is None
    assert not latency.unstable


def test_throughput_counts_all_photos_of_all_calls():
    assert throughput(np.array([0.1, 0.3]), photos=8) == pytest.approx(40)
