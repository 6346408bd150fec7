"""Boxes that follow each second from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.tracker import LOST_SECONDS, MAX_JUMP, MIN_IOU, START_JUMP, Tracker, compute_iou

sides = st.integers(0, 30)
rectangles = st.tuples(sides, sides, st.integers(1, 30), st.integers(1, 30)).map(
    lambda r: (float(r[0]), float(r[1]), float(r[0] + r[2]), float(r[1] + r[3]))
)


def numbers(tracker, boxes, time):
    return [track.number for track in tracker.match(boxes, time)]


def center(box):
    return np.add(box[:2], box[2:]) / 2


@given(rectangles, rectangles)
def test_iou_is_that_of_the_pixels(first, second):
    masks = np.zeros((2, 64, 64), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, (first, second), strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    assert compute_iou(first, second) == pytest.approx(
        (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    )


def test_two_moving_subjects_keep_their_numbers_in_any_order_of_boxes():
    tracker = Tracker(Smoothing())
    for step in range(30):
        left, right = (step, 0.0, step + 20.0, 20.0), (100.0 - step, 0.0, 120.0 - step, 20.0)
        boxes, expected = ([left, right], [1, 2]) if step % 2 == 0 else ([right, left], [2, 1])
        assert numbers(tracker, boxes, step / 30) == expected


def test_a_box_elsewhere_is_another_subject_and_numbers_are_not_reused():
    tracker = Tracker(Smoothing())
    assert numbers(tracker, [(0, 0, 10, 10)], 0.0) == [1]
    assert numbers(tracker, [(50, 50, 60, 60)], 0.1) == [2]
    assert tracker.drop_lost(LOST_SECONDS + 0.05) == (1,)
    assert tracker.drop_lost(LOST_SECONDS + 0.05) == ()
    assert numbers(tracker, [(0, 0, 10, 10)], LOST_SECONDS + 0.05) == [3]


def test_a_subject_that_is_missed_for_a_moment_keeps_its_number():
    tracker = Tracker(Smoothing())
    assert numbers(tracker, [(0, 0, 10, 10)], 0.0) == [1]
    assert numbers(tracker, [], 0.5) == []
    assert tracker.drop_lost(0.5) == ()
    assert numbers(tracker, [(1, 1, 11, 11)], 0.9) == [1]


def test_a_subject_too_fast_for_its_places_to_overlap_keeps_its_number():
    tracker = Tracker(Smoothing())
    for step in range(8):
        x = 25.0 * step
        assert numbers(tracker, [(x, 0.0, x + 10, 12.0)], 0.1 * step) == [1]
    assert numbers(tracker, [(600.0, 0.0, 610.0, 12.0)], 0.8) == [2]


def test_a_subject_that_sits_and_takes_off_at_once_keeps_its_number():
    tracker = Tracker(Smoothing())
    for step, x in enumerate([0, 1, 2, 3, 3, 11, 24, 37]):
        assert numbers(tracker, [(float(x), 0.0, x + 10.0, 12.0)], 0.1 * step) == [1]
    tracker = Tracker(Smoothing())
    for step, x in enumerate([0, 1, 2]):
        assert numbers(tracker, [(float(x), 0.0, x + 10.0, 12.0)], 0.1 * step) == [1]
    assert numbers(tracker, [(16.0, 0.0, 26.0, 12.0)], 0.3) == [2], "another, that is further away"


def test_a_box_that_overlaps_goes_before_one_that_would_be_a_jump():
    tracker = Tracker(Smoothing())
    assert numbers(tracker, [(0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)], 0.0) == [1, 2]
    assert numbers(tracker, [(24.0, 0.0, 34.0, 10.0)], 0.1) == [2]


@settings(deadline=None)
@given(st.lists(st.lists(rectangles, max_size=5), max_size=8))
def test_boxes_of_a_frame_are_different_subjects_near_their_last_places(frames):
    tracker, last = Tracker(Smoothing()), {}
    for time, boxes in enumerate(frames):
        tracks = numbers(tracker, boxes, 0.1 * time)
        assert len(set(tracks)) == len(tracks)
        for number, box in zip(tracks, boxes, strict=True):
            places = last.setdefault(number, [])
            if places:
                (before, first), (after, second) = places[-2:] if len(places) > 1 else places * 2
                step = (center(second) - center(first)) / max(after - before, 1) * (time - after)
                moved = tuple(np.add(second, [*step, *step]))
                if max(compute_iou(second, box), compute_iou(moved, box)) < MIN_IOU - 1e-9:
                    limit = MAX_JUMP if len(places) == 1 else START_JUMP
                    jump = abs(center(box) - center(second)).max()
                    assert jump <= limit * max(np.subtract(box[2:], box[:2]))
            places.append((time, box))
