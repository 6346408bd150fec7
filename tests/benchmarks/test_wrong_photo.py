from __future__ import annotations

import numpy as np
import pytest

import hmdrn
from benchmarks.wrong_photo import measure, named, named_by_means, summary
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def recognizer():
    return hmdrn.load("default", threads=1, keep_thumbnails=True)


@pytest.fixture(scope="module")
def group(recognizer):
    drawn = draw_specimens(range(6), 6, size=84)
    return {
        f"species {n}": recognizer.photo_statistics(np.stack([prepare(image, "crop") for image in images]))
        for n, images in enumerate(drawn)
    }


def test_counts_are_those_of_what_the_checks_name(recognizer, group):
    found = measure(recognizer, group, 3, 0)
    for right, any_, false in found.values():
        assert 0 <= right <= any_ <= 3
        assert 0 <= false <= 3
    assert found == measure(recognizer, group, 3, 0)


def test_five_photos_of_one_drawing_hold_none_that_is_odd(recognizer, group):
    first, *rest = group.values()
    others = {str(n): photos[:5] for n, photos in enumerate(rest)}
    same = [first[0]] * 5
    assert named_by_means(recognizer, same, others) is None
    assert named(recognizer, same, others) is None


def test_shares_come_with_their_intervals():
    found = summary([60, 75, 20], 100)
    assert (found["recall"], found["precision"], found["false_alarms"]) == (60, 80, 20)
    assert found["recall_ci95"] == pytest.approx(196 * np.sqrt(0.6 * 0.4 / 100))
