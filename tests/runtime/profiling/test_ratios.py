"""The ratio of medians and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.profiling.ratios import ratio_of_medians


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 120), st.integers(0, 1000))
def test_swapping_the_two_inverts_the_ratio_and_its_interval(turns, seed):
    first, second = np.random.default_rng(seed).uniform(0.5, 2, (2, turns))
    forth, back = ratio_of_medians(first, second), ratio_of_medians(second, first)
    assert back.value == pytest.approx(1 / forth.value)
    assert back.low == pytest.approx(1 / forth.high)
    assert back.high == pytest.approx(1 / forth.low)
    assert forth.low <= forth.high


def test_equal_calls_have_a_ratio_of_exactly_one():
    seconds = np.random.default_rng(0).uniform(1, 5, 50)
    ratio = ratio_of_medians(seconds, seconds)
    assert (ratio.value, ratio.low, ratio.high) == (1, 1, 1)


def test_disturbances_of_both_do_not_widen_the_interval():
    rng = np.random.default_rng(2)
    weather = rng.lognormal(0, 0.5, 300)
    first, second = 3 * weather, weather
    ratio = ratio_of_medians(first, second)
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((3, 3, 3))


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(100):
        first, second = rng.lognormal(np.log(2), 0.2, 60), rng.lognormal(0, 0.2, 60)
        ratio = ratio_of_medians(first, second)
        held += ratio.low <= 2 <= ratio.high
    assert 88 <= held <= 100


def test_neighboring_turns_that_are_alike_widen_the_interval():
    rng = np.random.default_rng(4)
    slow_changes = np.repeat(rng.lognormal(0, 0.2, 30), 10)
    shuffled = rng.permutation(slow_changes)
    steady = np.ones(300)

    def width(seconds):
        ratio = ratio_of_medians(seconds, steady)
        return ratio.high - ratio.low

    assert width(slow_changes) > 1.3 * width(shuffled)
