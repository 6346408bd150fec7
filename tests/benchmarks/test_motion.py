"""Films with true boxes, and scores of a motion detector on them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import hmdrn
from benchmarks.motion.__main__ import main
from benchmarks.motion.film import Conditions, Film, FilmSettings
from benchmarks.motion.score import FilmScorer, MotionScore

CALM = Conditions(leaves=0, drift=0, cloud=0, noise=0)


def test_a_true_box_is_where_a_film_differs_from_its_background():
    white = np.full((64, 64, 3), 255, np.uint8)
    settings = FilmSettings(8, 5, (160, 90), heights=(0.2, 0.5), visits=(1.5, 2))
    frames = list(Film([white], settings, CALM))
    background = frames[0][0]
    boxes = [(pixels, truth[0][1]) for pixels, truth, _ in frames if truth]
    assert len(boxes) > 5
    for pixels, box in boxes:
        differs = np.abs(pixels.astype(int) - background).sum(axis=2) > 100
        rows, columns = np.nonzero(differs)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(np.array(found) - box).max() <= 2


def test_a_film_is_empty_for_a_third_of_its_time_and_the_same_each_time():
    white = np.full((64, 64, 3), 255, np.uint8)
    film = Film([white], FilmSettings(600, 1, (64, 36)), CALM)
    shown = sum(visit.end - visit.start for visit in film.visits) / 600
    assert 0.55 < shown < 0.75
    assert {visit.sits for visit in film.visits} == {True, False}
    short = Film([white], FilmSettings(4, 5, (64, 36)))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(short, short, strict=True))


def test_visits_false_visits_and_overlaps_are_counted():
    score = MotionScore()
    scorer = FilmScorer(score)
    for index in range(20):
        boxes = [(0.0, 0.0, 10.0, 10.0)]  # over the first visit by a half, from its fourth frame
        boxes = boxes if index >= 3 else []
        boxes += [(50.0, 50.0, 60.0, 60.0)] if index < 5 else []  # over nothing
        truth = [(0, (0.0, 0.0, 10.0, 20.0)), (1, (80.0, 0.0, 90.0, 10.0))]
        matches = scorer.add(boxes, truth, index / 10)
        assert [visit for visit, _, _ in matches] == ([0] if index >= 3 else [])
    scorer.finish(2.0, 10.0)
    values = score.to_dict()
    assert (values["visits"], values["visits_found"], values["false_visits"]) == (2, 1, 1)
    assert values["mean_iou"] == 0.5
    assert values["subject_frames_found"] == round(17 / 40, 3)
    assert values["false_visits_in_ten_minutes"] == 300
    assert values["accuracy"] == {}


def test_a_visit_whose_boxes_do_not_make_a_track_is_not_found():
    score = MotionScore()
    scorer = FilmScorer(score)
    for index in range(20):
        box = (100.0 * index, 0.0, 100.0 * index + 10, 10.0)
        assert scorer.add([box], [(0, box)], index / 10)
    scorer.finish(2.0, 10.0)
    assert (score.visits, score.found, score.present) == (1, 0, 20)


def test_names_are_counted_by_frames_and_by_visits():
    score = MotionScore()
    scorer = FilmScorer(score)
    for probability in (0.9, 0.4, 0.4):  # of "A" by motion boxes
        ranking = (hmdrn.Match("A", probability, 0.0, {}), hmdrn.Match("B", 1 - probability, 0.0, {}))
        ranking = tuple(sorted(ranking, key=lambda match: -match.probability))
        motion = hmdrn.Prediction(ranking[0].label, ranking[0].probability, 1.0, None, ranking)
        true = hmdrn.Prediction("A", 1.0, 1.0, None, (hmdrn.Match("A", 1.0, 0.0, {}),))
        wrong = hmdrn.Prediction("B", 1.0, 1.0, None, (hmdrn.Match("B", 1.0, 0.0, {}),))
        scorer.add_names(0, "A", {"motion": motion, "true boxes": true, "whole frame": wrong})
    scorer.add_names(1, "A", {"motion": wrong, "true boxes": true, "whole frame": wrong})
    scorer.finish(2.0, 10.0)
    values = score.to_dict()
    assert (values["named_crops"], values["named_visits"]) == (4, 2)
    assert values["accuracy"] == {"motion": 25.0, "true boxes": 100.0, "whole frame": 0.0}
    assert values["accuracy_of_visits"] == {"motion": 50.0, "true boxes": 100.0, "whole frame": 0.0}
    assert values["motion_less_true_boxes"] == [-75.0, 17.68]
    assert values["visits_motion_less_true_boxes"] == [-50.0, 70.71]


@pytest.mark.slow
def test_motion_finds_and_names_photographs_before_moving_leaves(shared):
    options = "--films 2 --minutes 1.2 --size 960x540 --rate 10 --seed 21 --json"
    arguments = [str(shared("data/birds_cub.zip")), *options.split()]
    threads = cv2.getNumThreads()
    outcome = CliRunner().invoke(main, arguments, catch_exceptions=False)
    cv2.setNumThreads(threads)
    values = json.loads(outcome.output)
    assert values["visits"] >= 15
    assert values["visits_found"] >= 0.95 * values["visits"]
    assert values["false_visits"] == 0
    assert values["mean_iou"] > 0.5
    for accuracy in (values["accuracy"], values["accuracy_of_visits"]):
        assert accuracy["motion"] >= accuracy["true boxes"] - 3
        assert accuracy["motion"] >= accuracy["whole frame"] + 25
