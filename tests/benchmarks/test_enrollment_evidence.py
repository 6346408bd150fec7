"""Benchmarks of what an enrollment says, on drawn specimens."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import hmdrn
from benchmarks.bursts import film, make_copies
from benchmarks.enrollment_evidence import SHOTS, Counts, measure
from benchmarks.fast_matcher import FastMatcher
from benchmarks.open_set import RATES, count_holding, measure_all
from benchmarks.photo_groups import measure_false
from benchmarks.statistics_cache import keep_statistics
from hmdrn_runtime.enrollment.forecast import Estimate
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.images.quality import prepare_photo
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def parts():
    recognizer = hmdrn.load("default", threads=1)
    rng = np.random.default_rng(0)
    groups = {"photos": {}, "films": {}}
    for number, images in enumerate(draw_specimens(range(8), 7, size=96)):
        frames = film(Image.fromarray(images[0]), SHOTS, rng)
        for part, pictures in (("photos", images), ("films", frames)):
            pixels = np.stack([prepare_photo(p, recognizer.preprocessing).pixels for p in pictures])
            groups[part][f"s{number}"] = recognizer.matcher.compute_statistics(pixels)
    return FastMatcher.create(recognizer, groups)


def test_copies_and_films_are_pictures_of_the_same_scene():
    (image,) = draw_specimens(range(1), 1, size=96)[0]
    copies = make_copies(Image.fromarray(image), np.random.default_rng(0))
    assert len(copies) == 10
    assert {copy.mode for copy in copies.values()} == {"RGB"}
    assert all(0.8 * 96 < min(copy.size) <= 96 for copy in copies.values())
    frames = film(Image.fromarray(image), 3, np.random.default_rng(0))
    assert np.array_equal(np.asarray(frames[0]), image)
    assert len(frames) == 3


def test_the_error_of_the_truth_is_that_of_half_the_difference_of_its_halves():
    counts = Counts(photos=1, planted=1)
    outcomes = [np.array([True, False, True, True]), np.array([True, True, False, True])]
    counts.add("known", Estimate(0.9, 0.8, 1.0), outcomes)
    values = counts.to_dict()
    assert values["known_error"] == pytest.approx(15), "6 of 8 are right"
    assert values["known_covered"] == 0
    # Photos 1 and 3 of the species have 2 / 2 and 1 / 2, photos 2 and 4 have 1 / 2 and 2 / 2.
    assert values["known_truth"] == pytest.approx(0)
    counts.add("known", Estimate(0.9, 0.8, 1.0), outcomes[:1])
    assert values["known_truth"] < counts.to_dict()["known_truth"] == pytest.approx((0 + 50) / 2 / 2)


@pytest.mark.slow
def test_verdicts_and_forecasts_are_counted(parts):
    matcher, groups = parts
    background = hmdrn.load("default", threads=1).background
    counts = measure(matcher, groups["photos"], groups["films"], background, 4, 2, np.random.default_rng(0))
    assert (counts.photos, counts.planted) == (2 * 4 * SHOTS, 2)
    assert counts.found <= counts.noticed <= counts.planted
    assert set(counts.errors) == {"diverse", "diverse_known", "bursts", "bursts_known"}
    assert all(np.isfinite(value) for value in counts.to_dict().values())


@pytest.mark.slow
def test_false_accepts_are_measured_for_each_group_and_all(parts):
    matcher, groups = parts
    statistics = hmdrn.load("default", threads=1).background.impostors
    species = list(groups["photos"].values())
    operators = matcher.operators([]) or np.stack([photos[0].arrays["support"] for photos in species])
    results = measure_all(matcher, {"a": groups["photos"]}, Background(operators, statistics), 2)
    assert {(r["data"], r["way"], r["shots"]) for r in results} == {
        (name, 5, shots) for name in ("a", "all") for shots in (1, 5)
    }
    assert all(0 <= r[f"false_{rate}"] <= 100 for r in results for rate in RATES)
    assert 0 <= count_holding(results) <= len(results) * len(RATES)


def test_the_fast_matcher_solves_as_the_graph_does(parts):
    matcher, groups = parts
    species = [extend_species(None, label, photos[:2]) for label, photos in groups["photos"].items()]
    graph = RidgeMatcher(matcher.network, matcher.backend, matcher.variant).operators(species)
    assert np.stack(matcher.operators(species)) == pytest.approx(np.stack(graph), abs=1e-4)


def test_statistics_are_kept_between_runs(tmp_path):
    recognizer = hmdrn.load("default", threads=1)
    pixels = np.stack([prepare_photo(draw_specimens([0], 1, size=96)[0][0], recognizer.preprocessing).pixels])
    photos = {"ant": recognizer.matcher.compute_statistics(pixels)}
    assert keep_statistics(recognizer, tmp_path, "ants", lambda: photos) == photos
    (again,) = keep_statistics(recognizer, tmp_path, "ants", dict)["ant"]
    assert (again.content, again.sketch) == (photos["ant"][0].content, photos["ant"][0].sketch)


def test_no_pair_of_different_specimens_counts_as_one(parts):
    matcher, groups = parts
    assert measure_false(matcher.network, groups["photos"]) < 20
