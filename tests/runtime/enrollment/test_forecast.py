"""What a gallery promises for new photos."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

import hmdrn
from hmdrn_calibration.open_set.threshold_fit import score_own_photos
from hmdrn_runtime.enrollment.forecast import _expect_known, forecast_gallery
from hmdrn_runtime.enrollment.photo_groups import group_photos
from hmdrn_runtime.gallery.photo_record import PhotoRecord
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.open_set.background import Background, ImpostorStatistics, RivalScores
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def drawn():
    return draw_specimens(range(3), 5, size=84)


@pytest.fixture(scope="module")
def recognizer(drawn):
    recognizer = hmdrn.load("default", threads=1)
    for label, photos in zip(("ant", "bee", "moth"), drawn, strict=True):
        recognizer.enroll(label, list(photos[:4]))
    return recognizer


def test_a_forecast_has_the_mean_of_its_species_and_intervals_about_it(recognizer):
    forecast = hmdrn.forecast(recognizer)
    assert [species.label for species in forecast.species] == ["ant", "bee", "moth"]
    assert {species.views for species in forecast.species} == {4}
    for share in (forecast.accuracy, *(species.accuracy for species in forecast.species)):
        assert 0 <= share.low < share.share < share.high <= 1
    assert np.mean([s.accuracy.share for s in forecast.species]) == pytest.approx(forecast.accuracy.share)
    one = forecast.species[0].accuracy
    assert one.high - one.low >= forecast.accuracy.high - forecast.accuracy.low, "fewer photos say less"
    assert forecast.known is None, "the gallery is not calibrated"
    assert forecast.select("ant").species == forecast.species[:1]


def test_two_names_of_one_species_lower_the_forecast_and_are_named(recognizer, drawn):
    both = hmdrn.load("default", threads=1)
    both.enroll("ant", list(drawn[0][:3]))
    both.enroll("emmet", list(drawn[0][2:5]))
    forecast = hmdrn.forecast(both)
    assert forecast.accuracy.share < hmdrn.forecast(recognizer).accuracy.share - 0.05
    ((first, second, share),) = forecast.mixed_up
    assert (first, second) == ("ant", "emmet")
    assert 0.1 <= share <= 1


def test_two_species_that_are_far_apart_promise_at_most_99_percent(drawn):
    pair = hmdrn.load("default", threads=1)
    for label, photos in zip(("ant", "bee"), drawn, strict=False):
        pair.enroll(label, list(photos))
    assert 0.9 < hmdrn.forecast(pair).accuracy.share <= 0.99


def test_photos_of_one_scene_promise_less_for_sure(recognizer, drawn):
    single = hmdrn.load("default", threads=1)
    for label, photos in zip(("ant", "bee", "moth"), drawn, strict=True):
        single.enroll(label, photos[0])
    guess, known = hmdrn.forecast(single).accuracy, hmdrn.forecast(recognizer).accuracy
    assert guess.high - guess.low > known.high - known.low
    assert guess.share < known.share


def test_the_photo_of_a_single_scene_is_compared_with_itself_less_8_3_logits(drawn):
    single = hmdrn.load("default", threads=1)
    for label, photos in zip(("ant", "bee", "moth"), drawn, strict=True):
        single.enroll(label, photos[0])
    species = list(single.gallery.species.values())
    photos = [photo for one in species for photo in one.photos.values()]
    logits = single.matcher.compare(photos, {}, species) - 8.3 * np.eye(3)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = 0.704 + 0.266 * np.diag(chances).mean() - 0.099 * np.log(3)
    assert hmdrn.forecast(single).accuracy.share == pytest.approx(expected, abs=1e-4)


def test_the_share_known_falls_as_the_threshold_rises(recognizer):
    matcher, species = recognizer.matcher, recognizer.gallery.species
    shares = [
        forecast_gallery(matcher, species, recognizer.background, threshold).known.share
        for threshold in (-50, -5, 50)
    ]
    assert shares[0] == pytest.approx(1, abs=1e-3)
    assert shares == sorted(shares, reverse=True)
    assert shares[2] == pytest.approx(0, abs=1e-3)


def test_the_share_known_is_that_of_normal_scores_about_those_left_out(recognizer):
    matcher, species = recognizer.matcher, recognizer.gallery.species
    background = recognizer.background
    (statistics,) = [one for one in background.impostors if one.shots == 5]
    spread = statistics.rivals.spread
    scores = [score_own_photos(matcher, [one], background.operators) for one in species.values()]
    threshold = float(np.mean(np.concatenate(scores)))
    # Of four photos, three quarters of the way from species in general.
    means = [0.75 * own.mean() + 0.25 * (statistics.own - 0.42 * spread) + 0.31 * spread for own in scores]
    width = spread * (0.36 + 2.7 / 4) ** 0.5
    shares = [1 - NormalDist(mean, width).cdf(threshold) for mean in means]
    known = forecast_gallery(matcher, species, background, threshold).known
    assert known.share == pytest.approx(np.mean(shares), abs=1e-6)
    assert 0.05 < known.share < 0.95


def _background(scale: float) -> Background:
    """A background whose species' scores are those of the default model, or at another scale."""
    rivals = RivalScores(-6 * scale, 1.9 * scale)
    statistics = [
        ImpostorStatistics(shots, own * scale, rivals, {}, (0.0, 0.0))
        for shots, own in ((2, -4.2), (5, -0.2))
    ]
    return Background(np.zeros((0, 1), np.float32), tuple(statistics))


def test_normal_scores_say_more_than_a_count_of_few_photos():
    rng = np.random.default_rng(0)
    means = rng.normal(-1, 1.4, 300)
    scores = rng.normal(means[:, None], 1.9, (300, 5))
    truth = np.array([1 - NormalDist(mean, 1.9).cdf(-1) for mean in means])
    # The photos left out lack one that new photos have.
    expected = np.array([_expect_known(own.mean() - 0.6, 5, _background(1), -1) for own in scores])
    counts = (scores >= -1).mean(axis=1)
    assert np.abs(expected - truth).mean() < 0.8 * np.abs(counts - truth).mean()


@pytest.mark.parametrize("views", [1, 5])
def test_the_share_known_does_not_depend_on_the_scale_of_the_scores(views):
    share = _expect_known(3.0, views, _background(1), -2.0)
    assert 0 < share < 1
    assert _expect_known(1.5, views, _background(0.5), -1.0) == pytest.approx(share)


def test_a_gallery_of_one_species_or_of_sums_has_no_forecast(recognizer, drawn):
    one = hmdrn.load("default", threads=1)
    one.enroll("ant", list(drawn[0]))
    assert hmdrn.forecast(one) is None
    one.enroll("bee", list(drawn[1]))
    one.gallery.compact()
    assert hmdrn.forecast(one) is None


def test_photos_of_the_same_seconds_count_as_one_sooner(recognizer):
    network = recognizer.matcher.network
    first, second = list(recognizer.gallery.species["ant"].photos.values())[:2]
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, 64)

    def alike(share: float, *taken: str) -> list[int]:
        """Groups of two photos of one Gram matrix whose sketches correlate by about a share."""
        noise = rng.permutation(values)
        mixed = (share * values + (1 - share**2) ** 0.5 * noise) / 1.5
        photos: list[PhotoStatistics] = [
            replace(first, sketch=values.astype(np.uint8).tobytes(), record=PhotoRecord(taken=taken[0])),
            replace(
                second,
                arrays=first.arrays,
                sketch=mixed.clip(0, 255).astype(np.uint8).tobytes(),
                record=PhotoRecord(taken=taken[1]),
            ),
        ]
        return group_photos(network, photos)

    near, later = (
        ("2026-05-01T08:30:00Z", "2026-05-01T08:30:02Z"),
        ("2026-05-01T08:30:00Z", "2026-05-01T09:30:00Z"),
    )
    assert alike(0.95, "", "") == [0, 0]
    assert alike(0.5, "", "") == alike(0.5, *later) == [0, 1]
    assert alike(0.5, *near) == [0, 0]
    assert alike(0.0, *near) == [0, 1]
