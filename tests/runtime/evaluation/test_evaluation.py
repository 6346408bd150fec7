from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.episodes import sample_episodes
from hmdrn_runtime.evaluation.evaluation import Evaluation, Scorer, Setting, difference, evaluate

SIZES = {"ant": 6, "bee": 5, "fly": 7, "moth": 6}
SETTING = Setting(way=3, shot=2, queries=3, episodes=40, seed=1)


class Marked:
    """A photo whose pixels tell its class and number."""

    def __init__(self, label: int, number: int) -> None:
        self.label, self.number = label, number

    def prepare(self, mode: str, side: int = 0) -> npt.NDArray[np.uint8]:
        assert mode == "squash"
        pixels = np.zeros((84, 84, 3), np.uint8)
        pixels[0, 0] = self.label, self.number, 0
        return pixels


CLASSES = {name: [Marked(c, i) for i in range(size)] for c, (name, size) in enumerate(SIZES.items())}


class Reader(Scorer):
    """Names photos by what their pixels tell, but takes those of `confused` for the class after it."""

    preprocessing, executor = "squash", "a reader"

    def __init__(self, confused: int = -1) -> None:
        self.confused = confused
        self.seen: list[tuple[int, int]] = []

    def see(self, pixels: npt.NDArray[np.uint8]) -> None:
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


def run(scorer: Scorer, *settings: Setting) -> list[Evaluation]:
    return evaluate(scorer, CLASSES, settings or [SETTING])


def test_a_scorer_that_is_always_right_has_100_percent_and_sees_every_photo_once():
    scorer = Reader()
    (found,) = run(scorer)
    assert (found.accuracy, found.ci95) == (100.0, 0.0)
    assert scorer.seen == [(c, i) for c, size in enumerate(SIZES.values()) for i in range(size)]
    assert (found.classes, found.photos, found.executor) == (tuple(SIZES), 24, "a reader")
    assert found.class_accuracies == dict.fromkeys(SIZES, 100.0)


def test_confusion_counts_which_class_is_taken_for_which():
    (found,) = run(Reader(confused=1))
    drawn = list(sample_episodes(list(SIZES.values()), way=3, shot=2, queries=3, episodes=40, seed=1))
    together = sum({1, 2} <= set(e.classes) for e in drawn)
    expected = np.diag([3 * sum(c in e.classes for e in drawn) for c in range(4)])
    expected[1, 1] -= 3 * together
    expected[1, 2] = 3 * together
    assert np.array_equal(found.confusion, expected)
    assert found.class_accuracies["bee"] == pytest.approx(100 * expected[1, 1] / expected[1].sum())
    right = [1 - (1 / 3) * ({1, 2} <= set(e.classes)) for e in drawn]
    assert np.allclose(found.episode_accuracies, right)
    assert found.accuracy == pytest.approx(100 * np.mean(right))
    assert found.ci95 == pytest.approx(196 * np.std(right, ddof=1) / np.sqrt(40))


def test_several_settings_look_at_the_photos_once_and_are_what_each_gives_alone():
    scorer = Reader(confused=0)
    other = Setting(way=2, shot=1, queries=2, episodes=5)
    both = run(scorer, SETTING, other)
    assert len(scorer.seen) == 24
    for found, setting in zip(both, (SETTING, other), strict=True):
        (alone,) = run(Reader(confused=0), setting)
        assert found.setting == setting
        assert np.array_equal(found.episode_accuracies, alone.episode_accuracies)


def test_a_class_that_is_never_drawn_has_no_accuracy():
    (found,) = run(Reader(), Setting(way=2, shot=3, queries=3, episodes=9))
    assert "bee" not in found.class_accuracies, "five photos are too few for three shots and three queries"


def test_too_few_classes_are_refused_before_a_photo_is_seen():
    scorer = Reader()
    with pytest.raises(DatasetError, match="need 5 classes"):
        run(scorer, Setting(way=5, shot=1, queries=1, episodes=1))
    assert scorer.seen == []


def test_a_difference_is_paired_by_episode():
    (one,), (other,) = run(Reader()), run(Reader(confused=1))
    change = difference(one, other)
    pairs = 100 * (one.episode_accuracies - other.episode_accuracies)
    assert change.points == pytest.approx(pairs.mean())
    assert change.ci95 == pytest.approx(1.96 * pairs.std(ddof=1) / np.sqrt(len(pairs)))
    assert difference(other, other).points == difference(other, other).ci95 == 0


def test_evaluations_of_other_episodes_are_not_paired():
    (one,), (other,) = run(Reader()), run(Reader(), Setting(way=3, shot=2, queries=3, episodes=40, seed=2))
    with pytest.raises(DatasetError, match="cannot be paired"):
        difference(one, other)
