"""Unknowns on drawn specimens: 24 background species, others enrolled, others again unknown."""

from __future__ import annotations

import numpy as np
import pytest

import hmdrn
from hmdrn_calibration.impostors import fit_background
from hmdrn_calibration.rejection import reject
from hmdrn_calibration.unknowns import PRIOR, RATES, calibrate, scale, threshold
from hmdrn_runtime.background import Background, Calibration, Impostors, cohort, scores
from hmdrn_runtime.errors import DatasetError, GalleryError
from hmdrn_runtime.evaluation import Setting
from hmdrn_runtime.images import prepare
from hmdrn_runtime.specimens import draw_specimens


def statistics(recognizer, species, count):
    drawn = draw_specimens(species, count, size=84)
    return {
        f"species {s}": recognizer.photo_statistics(np.stack([prepare(image, "crop") for image in images]))
        for s, images in zip(species, drawn, strict=True)
    }


@pytest.fixture(scope="module")
def recognizer():
    return hmdrn.load("default", threads=1)


@pytest.fixture(scope="module")
def background(recognizer):
    return fit_background(
        recognizer.matcher, {"drawn": statistics(recognizer, range(24), 8)}, {"data": "drawn"}
    )


@pytest.fixture(scope="module")
def group(recognizer):
    return statistics(recognizer, range(100, 112), 9)


def test_a_background_has_a_cohort_and_bounds_that_fall_as_more_may_pass(background):
    assert background.operators.shape[0] == 12
    assert [one.shots for one in background.impostors] == [1, 5]
    for one in background.impostors:
        assert tuple(one.bounds) == RATES
        assert list(one.bounds.values()) == sorted(one.bounds.values(), reverse=True)
        assert one.temperature > 0


def test_the_rate_asked_for_is_nearly_the_rate_that_passes_on_new_species(recognizer, background, group):
    found = reject(recognizer.matcher, group, background, Setting(5, 5, 4, 60, 0), 0.1)
    assert abs(found.false_accepts.mean() - 0.1) < 0.06
    assert found.true_accepts.mean() > found.false_accepts.mean()
    assert found.auroc.mean() > 0.6


def test_too_few_species_to_leave_one_unknown_are_refused(recognizer, background, group):
    with pytest.raises(DatasetError, match="choose a --way"):
        reject(recognizer.matcher, group, background, Setting(12, 5, 4, 2, 0), 0.05)


def test_a_calibrated_gallery_says_what_is_known(recognizer, background, group, monkeypatch):
    one = hmdrn.load("default", threads=1)
    monkeypatch.setattr(one, "background", background, raising=False)
    drawn = draw_specimens(range(100, 104), 7, size=84)
    for s, images in enumerate(drawn):
        one.enroll(f"species {s}", list(images[:5]))
    plain = one.classify(drawn[0][6])
    assert plain.known is None
    found = calibrate(one.matcher, one.gallery.species, background, 0.1)
    one.gallery.calibrate(found.to_dict())
    now = one.classify(drawn[0][6])
    assert now.known in (True, False)
    assert [m.label for m in now.ranking] == [m.label for m in plain.ranking]
    logits = np.array([m.logit for m in now.ranking])
    shares = np.exp((logits - logits.max()) / found.temperature)
    assert [m.probability for m in now.ranking] == pytest.approx(list(shares / shares.sum()), rel=1e-4)
    one.gallery.calibrate({**found.to_dict(), "threshold": -1e6})
    assert one.classify(drawn[0][6]).known is True
    one.gallery.calibrate({**found.to_dict(), "threshold": 1e6})
    assert one.classify(drawn[0][6]).known is False
    one.gallery.calibrate(None)
    assert one.classify(drawn[0][6]).known is None


def test_a_stricter_rate_has_a_higher_threshold_and_a_gallery_of_one_species_leans_on_the_background():
    statistics = Impostors(5, -2.0, 1.5, {0.01: 3.0, 0.1: 1.0, 0.5: 0.0}, 1.0)
    own = np.array([-1.0, 0.0, 1.0, 0.0])
    assert (
        threshold(own, statistics, 0.01) > threshold(own, statistics, 0.05) > threshold(own, statistics, 0.5)
    )
    assert threshold(np.zeros(0), statistics, 0.1) == pytest.approx(-2.0 + 1.5)
    mean, deviation = scale(own, -2.0, 1.5)
    share = 4 / (4 + PRIOR)
    assert mean == pytest.approx((1 - share) * -2.0)
    assert deviation == pytest.approx(np.sqrt(share * 0.5 + (1 - share) * 2.25))


def test_a_score_is_the_best_logit_less_the_mean_of_the_best_three_of_the_background():
    assert scores(np.array([[1.0, 4.0]]), np.array([[0.0, 3.0, 2.0, 1.0]])) == pytest.approx([2.0])
    assert cohort(np.array([[5.0]])) == pytest.approx([5.0])


@pytest.mark.parametrize("far", [0.0, 0.001, 0.6, float("nan")])
def test_rates_out_of_range_are_refused(recognizer, background, far):
    with pytest.raises(GalleryError, match="out of range"):
        calibrate(recognizer.matcher, {}, background, far)


def test_a_damaged_calibration_is_refused():
    kept = Calibration(1.0, 2.0, 0.05).to_dict()
    assert Calibration.from_dict(kept) == Calibration(1.0, 2.0, 0.05)
    for damage in ({"temperature": 0.0}, {"threshold": "high"}, {"threshold": float("inf")}):
        with pytest.raises(GalleryError, match="damaged"):
            Calibration.from_dict({**kept, **damage})


def test_a_background_of_too_few_species_is_refused(recognizer, group):
    few = dict(list(group.items())[:5])
    with pytest.raises(DatasetError, match="background needs"):
        fit_background(recognizer.matcher, {"few": few}, {})


def test_a_background_keeps_half_precision_exactly(background):
    assert isinstance(background, Background)
    assert np.array_equal(background.operators, background.operators.astype(np.float16).astype(np.float32))
