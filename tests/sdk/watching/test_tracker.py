"""Boxes that follow each other from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.tracker import LOST_AFTER, OVERLAP, Tracker, overlap

sides = st.integers(0, 30)
rectangles = st.tuples(sides, sides, st.integers(1, 30), st.integers(1, 30)).map(
    lambda r: (float(r[0]), float(r[1]), float(r[0] + r[2]), float(r[1] + r[3]))
)


def numbers(tracker, boxes, time):
    return [track.number for track in tracker.follow(boxes, time)]


@given(rectangles, rectangles)
def test_overlap_is_that_of_the_pixels(one, other):
    masks = np.zeros((2, 64, 64), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, (one, other), strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    assert overlap(one, other) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def test_two_subjects_that_move_keep_their_numbers_whatever_the_order_of_their_boxes():
    tracker = Tracker(Smoothing())
    for step in range(30):
        left, right = (step, 0.0, step + 20.0, 20.0), (100.0 - step, 0.0, 120.0 - step, 20.0)
        boxes, expected = ([left, right], [1, 2]) if step % 2 == 0 else ([right, left], [2, 1])
        assert numbers(tracker, boxes, step / 30) == expected


def test_a_box_elsewhere_is_another_subject_and_numbers_are_not_used_again():
    tracker = Tracker(Smoothing())
    assert numbers(tracker, [(0, 0, 10, 10)], 0.0) == [1]
    assert numbers(tracker, [(50, 50, 60, 60)], 0.1) == [2]
    assert [track.number for track in tracker.lost(LOST_AFTER + 0.05)] == [1]
    assert tracker.lost(LOST_AFTER + 0.05) == ()
    assert numbers(tracker, [(0, 0, 10, 10)], LOST_AFTER + 0.05) == [3]


def test_a_subject_that_is_missed_for_a_moment_is_the_same_after_it():
    tracker = Tracker(Smoothing())
    assert numbers(tracker, [(0, 0, 10, 10)], 0.0) == [1]
    assert numbers(tracker, [], 0.5) == []
    assert tracker.lost(0.5) == ()
    assert numbers(tracker, [(1, 1, 11, 11)], 0.9) == [1]


@given(st.lists(st.lists(rectangles, max_size=5), max_size=8))
def test_boxes_of_one_frame_are_of_different_subjects_and_matches_overlap(frames):
    tracker, last = Tracker(Smoothing()), {}
    for time, boxes in enumerate(frames):
        found = numbers(tracker, boxes, 0.1 * time)
        assert len(set(found)) == len(found)
        for number, box in zip(found, boxes, strict=True):
            assert number not in last or overlap(last[number], box) >= OVERLAP
            last[number] = box
