"""Unknowns on drawn specimens: 24 background species, others enrolled, others again unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from preprocessings import CROP
from safetensors.numpy import load

import hmdrn
from hmdrn_calibration.open_set.background_fit import fit_background
from hmdrn_calibration.open_set.evaluation import evaluate_rejection
from hmdrn_calibration.open_set.metrics import softmax
from hmdrn_calibration.open_set.regression import fit_quantile, fit_temperature
from hmdrn_calibration.open_set.threshold_fit import (
    RATES,
    SPREAD_FLOOR,
    compute_temperature,
    compute_threshold,
    fit_calibration,
    measure_acceptance,
    measure_unknown,
    score_own_photos,
    score_rivals,
)
from hmdrn_runtime.errors import DatasetError, GalleryError
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.open_set.background import (
    SOFTNESS,
    Background,
    ImpostorStatistics,
    RivalScores,
    known_scores,
    soft_maximum,
)
from hmdrn_runtime.open_set.threshold import Calibration
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens


def statistics(recognizer, species, count):
    drawn = draw_specimens(species, count, size=84)
    return {
        f"species {s}": recognizer.matcher.compute_statistics(
            np.stack([prepare(image, CROP) for image in images])
        )
        for s, images in zip(species, drawn, strict=True)
    }


@pytest.fixture(scope="module")
def recognizer(conv4):
    return hmdrn.load(conv4, threads=1)


PROGRESS = []
"""Steps that fitting the background reported."""


@pytest.fixture(scope="module")
def background(recognizer):
    return fit_background(
        recognizer.matcher,
        {"drawn": statistics(recognizer, range(24), 8)},
        {"data": "drawn"},
        count=12,
        report=lambda *step: PROGRESS.append(step),
    )


@pytest.fixture(scope="module")
def group(recognizer):
    return statistics(recognizer, range(100, 112), 9)


def test_fitting_a_background_reports_its_progress(background):
    assert [("simulating galleries", done, 6) for done in range(7)] == PROGRESS


def test_a_background_has_a_cohort_and_bounds_that_fall_as_more_may_pass(background):
    assert background.operators.shape[0] == 12
    assert [one.shots for one in background.impostors] == [1, 2, 5]
    for one in background.impostors:
        assert tuple(one.bounds) == RATES
        found = [compute_threshold(one, 5, one.rivals, far) for far in RATES]
        assert found == sorted(found, reverse=True)
        assert len(set(found)) == len(RATES)
    assert background.impostors[0].own == 0


@pytest.mark.slow
def test_the_rate_asked_for_is_nearly_the_rate_that_passes_on_new_species(recognizer, background, group):
    # One drawn group may lie far from the background, or near it: the promise is of their mean.
    groups = [group, *(statistics(recognizer, range(a, a + 12), 9) for a in (200, 300))]
    found = [
        evaluate_rejection(recognizer.matcher, g, background, EpisodeSetting(5, 5, 4, 15, 0), 0.1)
        for g in groups
    ]
    wrong = np.mean([one.false_accepts.mean() for one in found])
    assert abs(wrong - 0.1) < 0.06
    assert np.mean([one.true_accepts.mean() for one in found]) > 3 * wrong
    assert min(one.auroc.mean() for one in found) > 0.7


def test_too_few_species_to_leave_one_unknown_are_refused(recognizer, background, group):
    with pytest.raises(DatasetError, match="choose a --way"):
        evaluate_rejection(recognizer.matcher, group, background, EpisodeSetting(12, 5, 4, 2, 0), 0.05)


def test_a_calibrated_gallery_says_what_is_known(conv4, background, group, monkeypatch):
    one = hmdrn.load(conv4, threads=1)
    monkeypatch.setattr(one.solved_gallery, "background", background, raising=False)
    drawn = draw_specimens(range(100, 104), 7, size=84)
    for s, images in enumerate(drawn):
        one.enroll(f"species {s}", list(images[:5]))
    plain = one.classify(drawn[0][6])
    assert plain.known is None
    found = fit_calibration(one.matcher, one.gallery.species, background, 0.1)
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


def test_a_calibration_applies_only_with_the_background_it_was_made_with(conv4, background, monkeypatch):
    one = hmdrn.load(conv4, threads=1)
    for s, images in enumerate(draw_specimens(range(100, 103), 5, size=84)):
        one.enroll(f"species {s}", list(images[:4]))
    found = fit_calibration(one.matcher, one.gallery.species, background, 0.1)
    assert found.background == background.digest
    assert Calibration.from_dict(found.to_dict()) == found
    one.gallery.calibrate(found.to_dict())
    query = draw_specimens([100], 5, size=84)[0][4]

    def beside(other: Background | None) -> tuple[bool | None, str | None]:
        again = Recognizer(one.bundle, one.backend, one.gallery)
        monkeypatch.setattr(again.solved_gallery, "background", other, raising=False)
        return again.classify(query).known, again.calibration_issue

    assert beside(background)[0] is not None
    assert beside(background)[1] is None
    further = Background(background.operators[:-1], background.impostors)
    known, doubt = beside(further)
    assert known is None
    assert f"({background.digest[:12]}) than this bundle's ({further.digest[:12]})" in str(doubt)
    known, doubt = beside(None)
    assert known is None
    assert "has no background species" in str(doubt)


def test_a_background_read_from_its_file_has_the_digest_of_the_one_written(background):
    read = load(background.to_bytes())["operator"].astype(np.float32)
    assert Background(read, background.impostors).digest == background.digest
    assert Background(read[::-1], background.impostors).digest != background.digest


RIVALS = RivalScores(-1.0, 0.7)
FITTED = ImpostorStatistics(
    5, -1.0, RIVALS, {0.01: (3.0, 0.5), 0.1: (1.0, 0.5), 0.5: (0.0, 0.5)}, (0.1, -0.2)
)


def test_a_threshold_lies_spreads_above_the_scores_of_rivals():
    assert compute_threshold(FITTED, 5, RIVALS, 0.1) == pytest.approx(
        -1 + (1 + 0.5 / 4) * (0.7 + SPREAD_FLOOR)
    )
    stricter = [compute_threshold(FITTED, 5, RIVALS, far) for far in (0.5, 0.1, 0.05, 0.01)]
    assert stricter == sorted(stricter)
    assert compute_threshold(FITTED, 5, RivalScores(2.0, 0.7), 0.1) - compute_threshold(
        FITTED, 5, RIVALS, 0.1
    ) == pytest.approx(3)


def test_photos_of_other_species_that_suffice_for_a_rate_set_its_threshold():
    unknown = np.arange(99, 0, -1) / 100
    # A new photo is above the tenth of 99 in ten of a hundred orders.
    assert compute_threshold(FITTED, 5, RIVALS, 0.1, unknown) == pytest.approx(
        -1 + 0.90 * (0.7 + SPREAD_FLOOR)
    )


def test_beyond_the_photos_of_other_species_the_tail_is_the_backgrounds():
    unknown = np.arange(19, 0, -1) / 100
    fitted = replace(FITTED, bounds={0.01: (3.0, 0.5), 0.05: (2.4, 0.5), 0.5: (0.0, 0.5)})
    spreads = 0.19 + 3.0 - 2.4
    assert compute_threshold(fitted, 5, RIVALS, 0.01, unknown) == pytest.approx(
        -1 + spreads * (0.7 + SPREAD_FLOOR)
    )


@pytest.mark.parametrize(("count", "far"), [(10, 0.2), (30, 0.05), (30, 0.2), (100, 0.01)])
def test_with_photos_of_other_species_the_rate_holds_though_the_background_errs(count, far):
    normal = NormalDist()
    fitted = replace(FITTED, bounds={rate: (normal.inv_cdf(1 - rate), 0.0) for rate in RATES})
    rng = np.random.default_rng(0)
    place = NormalDist(1.5, 0.8)  # strangers of this place score higher than those of the background
    passing = [
        1 - place.cdf(compute_threshold(fitted, 5, RivalScores(0, 1 - SPREAD_FLOOR), far, sample))
        for sample in rng.normal(place.mean, place.stdev, (600, count))
    ]
    alone = 1 - place.cdf(compute_threshold(fitted, 5, RivalScores(0, 1 - SPREAD_FLOOR), far))
    assert np.mean(passing) == pytest.approx(far, rel=0.2)
    assert alone > 2 * far


def test_photos_of_other_species_are_scored_as_on_the_device(recognizer, background, group):
    labels = list(group)
    species = {label: extend_species(None, label, group[label][:3]) for label in labels[:3]}
    strangers = [group[label][:4] for label in labels[3:6]]
    found = measure_unknown(recognizer.matcher, species, background, strangers)
    assert list(found) == sorted(found, reverse=True)
    assert len(found) == 12
    rivals = score_rivals(recognizer.matcher, list(species.values()), background.operators)
    logits = recognizer.matcher.compare(strangers[0], {}, list(species.values()))
    against = recognizer.matcher.match(strangers[0], background.operators).logits
    spreads = (known_scores(logits, against) - rivals.mean) / (rivals.spread + SPREAD_FLOOR)
    assert all(np.abs(np.array(found) - value).min() < 1e-3 for value in spreads)
    fitted = fit_calibration(recognizer.matcher, species, background, 0.2, found)
    assert fitted.unknown == found
    passing = rivals.mean + np.array(found) * (rivals.spread + SPREAD_FLOOR) >= fitted.threshold
    assert passing.sum() == 2, "0.2 of 13 is 2.6: between the second and the third of twelve"


def test_bounds_that_cross_are_put_in_order():
    crossed = ImpostorStatistics(5, 0.0, RIVALS, {0.1: (1.0, 0.0), 0.5: (0.0, 4.0)}, (0.0, 0.0))
    rivals = RivalScores(0.0, 1.0)
    assert compute_threshold(crossed, 3, rivals, 0.1) == pytest.approx(2 * (1 + SPREAD_FLOOR))
    assert compute_threshold(crossed, 3, rivals, 0.5) == pytest.approx(1 + SPREAD_FLOOR)


def test_rivals_are_the_best_other_species_of_each_photo(recognizer, background, group):
    classes = [extend_species(None, label, photos[:2]) for label, photos in list(group.items())[:3]]
    rivals = score_rivals(recognizer.matcher, classes, background.operators)
    scores = []
    for own in classes:
        photos = list(own.photos.values())
        others = recognizer.matcher.compare(photos, {}, [one for one in classes if one is not own])
        scores += list(known_scores(others, recognizer.matcher.match(photos, background.operators).logits))
    assert (rivals.mean, rivals.spread) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-4)
    assert score_rivals(recognizer.matcher, classes[:1], background.operators) is None


def test_a_temperature_follows_the_own_scores_within_limits():
    assert compute_temperature(FITTED, 2.0) == pytest.approx(np.exp(0.1 - 0.4))
    assert compute_temperature(FITTED, -1e3) == 20.0


def test_a_linear_quantile_is_passed_by_its_share_wherever_one_looks():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 4, 20_000)
    values = 1 + 2 * x + (1 + x) * rng.exponential(size=x.size)
    for quantile in (0.5, 0.9):
        constant, slope = fit_quantile(x[:, None], values, np.ones(x.size), quantile)
        # Of 1 + 2 x + (1 + x) E, where E is exponential, the quantile is linear: known in closed form.
        tail = -np.log(1 - quantile)
        assert (constant, slope) == pytest.approx((1 + tail, 2 + tail), rel=0.1)


def test_what_does_not_vary_has_no_part_in_a_quantile():
    values = np.arange(101.0)
    found = fit_quantile(np.full((101, 1), 7.0), values, np.ones(101), 0.8)
    assert found == pytest.approx([80, 0], abs=1)


def test_a_temperature_that_depends_on_the_gallery_is_found_again():
    rng = np.random.default_rng(1)
    own = rng.uniform(0, 3, 40)
    plain = [rng.normal(0, 2, (150, 4)) for _ in own]
    truth = [np.array([rng.choice(4, p=p) for p in softmax(one)]) for one in plain]
    logits = [one * np.exp(0.5 - 0.3 * at) for one, at in zip(plain, own, strict=True)]
    assert fit_temperature(logits, truth, own) == pytest.approx((0.5, -0.3), abs=0.06)


def test_own_scores_are_those_of_a_gallery_without_the_photo(recognizer, background, group):
    ants, bees = (extend_species(None, name, photos[:3]) for name, photos in list(group.items())[:2])
    lone = extend_species(None, "one photo", list(group.values())[2][:1])
    found = score_own_photos(recognizer.matcher, [ants, lone, bees], background.operators)
    assert len(found) == 6
    first, *rest = ants.photos.values()
    logit = recognizer.matcher.compare([first], {}, [extend_species(None, "rest", rest)])
    against = recognizer.matcher.match([first], background.operators).logits
    assert found[0] == pytest.approx(known_scores(logit, against)[0], rel=1e-4)


def test_photos_pass_whose_own_score_reaches_the_threshold(recognizer, background, group):
    names = list(group)[:3]
    species = {name: extend_species(None, name, group[name][:4]) for name in names[:2]}
    species[names[2]] = extend_species(None, names[2], group[names[2]][:1])
    first, second = (
        score_own_photos(recognizer.matcher, [species[name]], background.operators) for name in names[:2]
    )
    between = float(np.median(np.concatenate([first, second])))
    found = measure_acceptance(recognizer.matcher, species, background.operators, between)
    assert found.known == {
        names[0]: (first >= between).sum(),
        names[1]: (second >= between).sum(),
        names[2]: 0,
    }
    assert found.judged == {names[0]: 4, names[1]: 4, names[2]: 0}
    assert found.unjudged_species == (names[2],)
    assert found.to_dict()["known"] == 4
    assert found.to_dict()["of"] == 8
    # Of the species whose best photo is worse, none passes a threshold between the best of both.
    beyond = (first.max() + second.max()) / 2
    worse = names[int(first.max() > second.max())]
    assert measure_acceptance(recognizer.matcher, species, background.operators, beyond).rejected_species == (
        worse,
    )


def test_a_gallery_of_single_photos_is_calibrated_by_its_rivals(recognizer, background, group):
    species = {name: extend_species(None, name, photos[:1]) for name, photos in list(group.items())[:3]}
    found = fit_calibration(recognizer.matcher, species, background, 0.1)
    rivals = score_rivals(recognizer.matcher, list(species.values()), background.operators)
    assert found.threshold == compute_threshold(background.impostors[0], 3, rivals, 0.1)


def test_a_score_is_the_best_logit_less_the_soft_maximum_of_the_background():
    soft = SOFTNESS * np.log(np.exp(np.arange(12.0) / SOFTNESS).sum())
    assert known_scores(np.array([[1.0, 9.0]]), np.arange(12.0)[None, ::-1]) == pytest.approx([9.0 - soft])
    assert soft_maximum(np.array([[3000.0, 3000.0]])) == pytest.approx([3000 + SOFTNESS * np.log(2)])
    assert soft_maximum(np.array([[5.0]])) == pytest.approx([5.0])


@pytest.mark.parametrize("far", [0.0, 0.001, 0.6, float("nan")])
def test_rates_out_of_range_are_refused(recognizer, background, far):
    with pytest.raises(GalleryError, match="far is"):
        fit_calibration(recognizer.matcher, {}, background, far)


def test_a_damaged_calibration_is_refused():
    kept = Calibration(1.0, 2.0, 0.05, "ab" * 32).to_dict()
    assert Calibration.from_dict(kept) == Calibration(1.0, 2.0, 0.05, "ab" * 32)
    assert "unknown" not in kept
    beside = Calibration(1.0, 2.0, 0.05, "ab" * 32, (1.5, -0.25))
    assert Calibration.from_dict(json.loads(json.dumps(beside.to_dict()))) == beside
    damages: tuple[dict[str, object], ...] = (
        {"temperature": 0.0},
        {"threshold": "high"},
        {"threshold": float("inf")},
        {"background": None},
        {"unknown": 3.0},
        {"unknown": ["high"]},
        {"unknown": [float("nan")]},
    )
    for damage in damages:
        with pytest.raises(GalleryError, match="damaged"):
            Calibration.from_dict({**kept, **damage})


def test_a_background_of_too_few_species_is_refused(recognizer, group):
    few = dict(list(group.items())[:5])
    with pytest.raises(DatasetError, match="background needs"):
        fit_background(recognizer.matcher, {"few": few}, {})


def test_a_background_keeps_half_precision_exactly(background):
    assert isinstance(background, Background)
    assert np.array_equal(background.operators, background.operators.astype(np.float16).astype(np.float32))
