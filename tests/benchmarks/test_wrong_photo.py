from __future__ import annotations

import numpy as np
import pytest

import hmdrn
from benchmarks.wrong_photo import find_outlier, find_outlier_by_means, measure, summarize
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


def test_counts_are_repeatable_and_in_range(recognizer, group):
    counts = measure(recognizer, group, 3, 0)
    for right, named, false in counts.values():
        assert 0 <= right <= named <= 3
        assert 0 <= false <= 3
    assert counts == measure(recognizer, group, 3, 0)


def test_five_copies_of_a_photo_hold_no_outlier(recognizer, group):
    first, *rest = group.values()
    others = {str(n): photos[:5] for n, photos in enumerate(rest)}
    same = [first[0]] * 5
    assert find_outlier_by_means(recognizer, same, others) is None
    assert find_outlier(recognizer, same, others) is None


def test_shares_come_with_their_intervals():
    figures = summarize([60, 75, 20], 100)
    assert (figures["recall"], figures["precision"], figures["false_alarms"]) == (60, 80, 20)
    assert figures["recall_ci95"] == pytest.approx(196 * np.sqrt(0.6 * 0.4 / 100))
