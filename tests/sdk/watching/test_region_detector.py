"""A detector limited to a region, and a watch that goes on with another one."""

from __future__ import annotations

import time

import numpy as np
from fake_classifier import make_prediction

from hmdrn.watching.frame_classifier import FrameClassifier
from hmdrn.watching.frames import Frame
from hmdrn.watching.region_detector import RegionDetector
from hmdrn.watching.smoothing import Smoothing


class Heads:
    def classify_batch(self, images):
        return [make_prediction("Heads") for _ in images]


def frame_at(position: float) -> Frame:
    return Frame(0, position, 0.0, time.monotonic(), np.zeros((100, 100, 3), np.uint8))


def test_boxes_within_the_region_are_clipped_and_others_dropped():
    boxes = [(0, 0, 40, 40), (30, 30, 70, 70), (60, 60, 100, 100), (45, 45, 47, 47.5)]
    finder = RegionDetector(lambda frame: boxes, (40, 40, 90, 90))
    assert finder(frame_at(0.0)) == [(40, 40, 70, 70), (60, 60, 90, 90)]
    assert RegionDetector(lambda frame: None, (0, 0, 9, 9))(frame_at(0.0)) is None


def test_subjects_are_gone_once_when_the_view_changes():
    def ignore(message: str) -> None: ...

    classifier = FrameClassifier(Heads(), None, None, Smoothing(), ignore, ignore)
    assert [s.box for s in classifier.classify(frame_at(0.0)).sightings] == [None]
    classifier.look_at(None, lambda frame: [(0, 0, 50, 50)])
    result = classifier.classify(frame_at(0.1))
    assert (result.gone, [s.track for s in result.sightings]) == ((0,), [1])
    assert classifier.classify(frame_at(0.2)).gone == ()
    classifier.look_at((10, 10, 60, 60), None)
    result = classifier.classify(frame_at(0.3))
    assert set(result.gone) == {0, 1}
    assert [(s.track, s.box) for s in result.sightings] == [(0, (10, 10, 60, 60))]
