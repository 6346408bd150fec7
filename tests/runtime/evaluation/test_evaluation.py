from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from preprocessings import SQUASH

from hmdrn_runtime.errors import DatasetError, ImageError
from hmdrn_runtime.evaluation.episodes import sample_episodes
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting, Evaluation, Scorer, compare_accuracy, evaluate
from hmdrn_runtime.images.preprocessing import Preprocessing

SIZES = {"ant": 6, "bee": 5, "fly": 7, "moth": 6}
SETTING = EpisodeSetting(way=3, shot=2, queries=3, episodes=40, seed=1)


class Marked:
    """A photo whose pixels hold its class and number."""

    def __init__(self, label: int, number: int) -> None:
        self.label, self.number = label, number

    def prepare(self, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
        assert preprocessing == SQUASH
        pixels = np.zeros((84, 84, 3), np.uint8)
        pixels[0, 0] = self.label, self.number, 0
        return pixels


CLASSES = {name: [Marked(c, i) for i in range(size)] for c, (name, size) in enumerate(SIZES.items())}


class Reader(Scorer):
    """Classifies photos by their pixels, but those of class `confused` as the class after it."""

    preprocessing, executor = SQUASH, "a reader"

    def __init__(self, confused: int = -1) -> None:
        self.confused = confused
        self.seen: list[tuple[int, int]] = []

    def add_photos(self, pixels: npt.NDArray[np.uint8]) -> None:
        self.seen += [(int(p[0, 0, 0]), int(p[0, 0, 1])) for p in pixels]

    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        labels = [self.seen[rows[0]][0] for rows in support]
        assert all(
            {self.seen[row][0] for row in rows} == {label}
            for rows, label in zip(support, labels, strict=True)
        )
        assert not {*support.ravel()} & {*query}
        answers = [self.seen[row][0] for row in query]
        answers = [a + 1 if a == self.confused and a + 1 in labels else a for a in answers]
        return np.array([[float(label == answer) for label in labels] for answer in answers])


def run(scorer: Scorer, *settings: EpisodeSetting) -> list[Evaluation]:
    return evaluate(scorer, CLASSES, settings or [SETTING])


def test_a_perfect_scorer_has_100_percent_and_sees_each_photo_once():
    scorer = Reader()
    (result,) = run(scorer)
    assert (result.accuracy, result.ci95) == (100.0, 0.0)
    assert scorer.seen == [(c, i) for c, size in enumerate(SIZES.values()) for i in range(size)]
    assert (result.classes, result.photos, result.executor) == (tuple(SIZES), 24, "a reader")
    assert result.class_accuracies == dict.fromkeys(SIZES, 100.0)


class Broken(Marked):
    """A photo that cannot be read."""

    def prepare(self, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
        raise ImageError(f"photo {self.number} of {self.label} is damaged")


def test_unreadable_photos_are_left_out_and_named():
    damaged = {name: list(photos) for name, photos in CLASSES.items()}
    damaged["ant"].insert(1, Broken(0, 90))
    damaged["moth"].append(Broken(3, 91))
    scorer = Reader()
    (result,) = evaluate(scorer, damaged, [SETTING])
    (whole,) = run(Reader())
    assert result.unreadable == ("photo 90 of 0 is damaged", "photo 91 of 3 is damaged")
    assert (result.photos, result.accuracy) == (24, 100.0)
    assert np.array_equal(result.confusion, whole.confusion), "the episodes are those of the readable photos"
    assert whole.unreadable == ()
    with pytest.raises(DatasetError, match="need 3 classes"):
        evaluate(Reader(), {**CLASSES, "ant": [Broken(0, 1)] * 6, "bee": [Broken(1, 1)] * 6}, [SETTING])


def test_confusion_counts_true_classes_against_answers():
    (result,) = run(Reader(confused=1))
    drawn = list(sample_episodes(list(SIZES.values()), way=3, shot=2, queries=3, episodes=40, seed=1))
    together = sum({1, 2} <= set(e.classes) for e in drawn)
    expected = np.diag([3 * sum(c in e.classes for e in drawn) for c in range(4)])
    expected[1, 1] -= 3 * together
    expected[1, 2] = 3 * together
    assert np.array_equal(result.confusion, expected)
    assert result.class_accuracies["bee"] == pytest.approx(100 * expected[1, 1] / expected[1].sum())
    right = [1 - (1 / 3) * ({1, 2} <= set(e.classes)) for e in drawn]
    assert np.allclose(result.episode_accuracies, right)
    assert result.accuracy == pytest.approx(100 * np.mean(right))
    assert result.ci95 == pytest.approx(196 * np.std(right, ddof=1) / np.sqrt(40))


def test_several_settings_share_the_photos_and_match_separate_runs():
    scorer = Reader(confused=0)
    other = EpisodeSetting(way=2, shot=1, queries=2, episodes=5)
    both = run(scorer, SETTING, other)
    assert len(scorer.seen) == 24
    for result, setting in zip(both, (SETTING, other), strict=True):
        (alone,) = run(Reader(confused=0), setting)
        assert result.setting == setting
        assert np.array_equal(result.episode_accuracies, alone.episode_accuracies)


def test_a_class_that_is_never_drawn_has_no_accuracy():
    (result,) = run(Reader(), EpisodeSetting(way=2, shot=3, queries=3, episodes=9))
    assert "bee" not in result.class_accuracies, "five photos are too few for three shots and three queries"


def test_too_few_classes_are_refused_before_a_photo_is_read():
    scorer = Reader()
    with pytest.raises(DatasetError, match="need 5 classes"):
        run(scorer, EpisodeSetting(way=5, shot=1, queries=1, episodes=1))
    assert scorer.seen == []


def test_a_difference_is_paired_by_episode():
    (one,), (other,) = run(Reader()), run(Reader(confused=1))
    change = compare_accuracy(one, other)
    pairs = 100 * (one.episode_accuracies - other.episode_accuracies)
    assert change.points == pytest.approx(pairs.mean())
    assert change.ci95 == pytest.approx(1.96 * pairs.std(ddof=1) / np.sqrt(len(pairs)))
    assert compare_accuracy(other, other).points == compare_accuracy(other, other).ci95 == 0


def test_evaluations_of_other_episodes_are_not_paired():
    (one,), (other,) = (
        run(Reader()),
        run(Reader(), EpisodeSetting(way=3, shot=2, queries=3, episodes=40, seed=2)),
    )
    with pytest.raises(DatasetError, match="cannot be paired"):
        compare_accuracy(one, other)
