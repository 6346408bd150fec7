from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import hmdrn


def test_the_detector_finds_each_subject_on_the_table_once(example):
    robot = example("robot_loop.py")
    (frame,) = robot.camera(1)
    boxes = robot.detect(frame)
    assert len(boxes) == 3
    for index, box in enumerate(boxes):
        x, y = 40 + 200 * index, 40 + 60 * index
        true = np.array([x, y, x + 128, y + 128])
        assert np.abs(np.array(box) - true).max() <= robot.GRID


def test_the_simple_loop_classifies_the_detectors_boxes(example, recognizer, labels):
    robot = example("robot_loop.py")
    seen = []
    robot.classify_each_frame(
        recognizer, robot.camera(3), lambda _, predictions: seen.append([p.label for p in predictions])
    )
    assert seen == [labels] * 3


def test_a_frame_without_detections_has_no_predictions(example, recognizer):
    robot = example("robot_loop.py")
    seen = []
    empty = np.zeros((480, 640, 3), np.uint8)
    robot.classify_each_frame(
        recognizer, [empty], lambda boxes, predictions: seen.append((boxes, predictions))
    )
    assert seen == [([], [])]


@pytest.mark.parametrize("loop", ["classify_each_frame", "classify_when_ready"])
def test_a_bad_box_costs_only_its_frame(example, recognizer, labels, capsys, monkeypatch, loop):
    robot = example("robot_loop.py")
    true, boxes = robot.detect, iter([[(700, 0, 800, 100)]])
    monkeypatch.setattr(robot, "detect", lambda frame: next(boxes, None) or true(frame))
    seen = []
    getattr(robot, loop)(
        recognizer, robot.camera(2), lambda _, predictions: seen.append([p.label for p in predictions])
    )
    assert seen == [labels]
    assert "lies outside" in capsys.readouterr().err


def test_the_loop_without_waiting_drops_the_oldest_frames(example, recognizer, monkeypatch):
    robot = example("robot_loop.py")
    submitted, classify = threading.Event(), recognizer.classify

    def slow(*arguments, **options):
        assert submitted.wait(30)  # until every frame has been handed over
        return classify(*arguments, **options)

    def frames():
        yield from robot.camera(10)
        submitted.set()

    monkeypatch.setattr(recognizer, "_live", hmdrn.LiveWorker(slow))
    acted = []
    tally = robot.classify_when_ready(recognizer, frames(), lambda boxes, _: acted.append(boxes))
    assert (tally.frames, tally.classified + tally.dropped, tally.failed) == (10, 10, 0)
    assert tally.classified in (
        2,
        3,
    )  # the two newest, and the one in work, if its turn came before it was dropped
    assert len(acted) == tally.classified
    assert acted[-1] == robot.detect(list(robot.camera(10))[-1])


def test_it_runs_as_it_stands(examples, environment, labels):
    command = [sys.executable, str(examples / "robot_loop.py"), "--frames", "5", "--fps", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    assert [line.split(" (")[0] for line in done.stdout.splitlines()[1:4]] == labels
    assert "0 failed" in done.stdout


def test_a_missing_bundle_is_one_line(example, capsys, monkeypatch):
    robot = example("robot_loop.py")
    monkeypatch.setattr(sys, "argv", ["robot_loop.py", "--bundle", "no-such.hmdrn"])
    assert robot.main() == 2
    err = capsys.readouterr().err
    assert err.startswith("error: no bundle at no-such.hmdrn")
    assert err.count("\n") == 1
