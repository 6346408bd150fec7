"""False accepts of drawn scores: rates that hold, and photos that are given to a calibration."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.open_set import count_holding, count_undecided, find_threshold
from benchmarks.unknown_photos import split_unknown
from hmdrn_calibration.open_set.background_fit import SimulatedGallery
from hmdrn_runtime.open_set.background import RivalScores


def result(shares, interval):
    rates = (0.01, 0.05, 0.2)
    return {f"false_{rate}": share for rate, share in zip(rates, shares, strict=True)} | {
        f"false_{rate}_ci95": interval for rate in rates
    }


def test_rates_hold_within_a_third_and_are_undecided_near_its_border():
    results = [result((1.2, 4.0, 30.0), 0.1), result((0.5, 6.6, 20.0), 0.1)]
    assert count_holding(results) == 4
    assert count_undecided(results) == 1, "6.6 may be above 6.67"


def test_a_threshold_counts_galleries_alike():
    few, many = np.array([1.0, 2.0]), np.arange(100) / 10
    best = find_threshold([few, many], 0.3)
    assert np.mean([(part >= best).mean() for part in (few, many)]) == pytest.approx(0.3, abs=0.01)


def test_photos_that_judge_are_not_given_and_of_other_species_if_asked():
    scores, species = np.arange(24.0), np.repeat([4, 5, 6, 7], 6)
    empty = np.zeros((0, 3), np.float32)
    gallery = SimulatedGallery(empty, species[:0], scores[:0], scores, species, 0.0, RivalScores(0.0, 1.0))
    rng = np.random.default_rng(0)
    given, rest = split_unknown(gallery, "same species", 12, rng)
    assert sorted([*given, *rest]) == scores.tolist()
    given, rest = split_unknown(gallery, "other species", 5, rng)
    assert len(given) == 5
    assert not set(given // 6) & set(rest // 6)
    assert split_unknown(gallery, "same species", 13, rng) is None
