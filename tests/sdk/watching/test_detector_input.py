"""A detector's boxes: to which frame a line belongs, and what becomes of a bad one."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from hmdrn.watching.box_lines import LONGEST_LINE, parse_line
from hmdrn.watching.detector_input import BoxesEndError, BoxLines
from hmdrn.watching.frames import Frame
from hmdrn_runtime.errors import HmdrnError

BOX = [1, 2, 30.5, 40]


class Detector:
    """Writes lines into a pipe that boxes are read from."""

    def __init__(self, in_order: bool) -> None:
        source, self._sink = os.pipe()
        self.problems: list[str] = []
        self.lines = BoxLines(source, in_order, self.problems.append, lambda: False)

    def send(self, *lines: object) -> None:
        for line in lines:
            text = line if isinstance(line, bytes) else json.dumps(line).encode()
            os.write(self._sink, text + b"\n")

    def end(self) -> None:
        os.close(self._sink)

    def boxes(self, index: int):
        return self.lines(frame(index))


def frame(index: int) -> Frame:
    return Frame(index, index / 30, 0.0, 0.0, np.zeros((48, 64, 3), np.uint8))


def boxes(*lefts: int):
    return {"boxes": [[left, 0, left + 10, 10] for left in lefts]}


def lefts(found):
    return None if found is None else [box[0] for box in found]


def test_in_order_each_line_belongs_to_the_next_frame():
    detector = Detector(in_order=True)
    detector.send(boxes(1), boxes(), boxes(2, 3))
    assert [lefts(detector.boxes(i)) for i in range(3)] == [[1], [], [2, 3]]


def test_in_order_a_line_that_names_its_frame_waits_for_it_and_a_late_one_is_left_out():
    detector = Detector(in_order=True)
    detector.send(*({"frame": i, **boxes(i)} for i in (1, 3, 2)), boxes(4), {"frame": 6, **boxes(6)})
    detector.end()
    found = [lefts(detector.boxes(i)) for i in range(7)]
    # The line of frame 2 came too late, and so did the one without a number, which follows it.
    assert found == [None, [1], None, [3], None, None, [6]]
    with pytest.raises(BoxesEndError):
        detector.boxes(7)


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b'{"frame": 1}',
        b'{"boxes": 3}',
        b'{"boxes": [[1, 2, 3]]}',
        b'{"boxes": [[1, 2, 3, "4"]]}',
        b'{"boxes": [[1, 2, 3, NaN]]}',
        b'{"boxes": [[1, 2, 3, true]]}',
        b'{"boxes": [], "frame": true}',
        b'{"boxes": [[1, 2, 3, %s]]}' % (b"9" * 400),
        b"\xff\xfe",
        b"[" * 5000,
        b"x" * (LONGEST_LINE + 70000),
    ],
    ids=lambda line: line[:30].decode(errors="replace"),
)
def test_a_bad_line_is_told_with_its_number_and_stands_for_no_boxes(bad):
    detector = Detector(in_order=True)
    detector.send(boxes(1), b"")
    # A pipe holds 64 KB: what is longer is written as it is read.
    assert lefts(detector.boxes(0)) == [1]
    for start in range(0, len(bad), 4096):
        os.write(detector._sink, bad[start : start + 4096])
    detector.send(b"", boxes(2))
    assert [lefts(detector.boxes(i)) for i in (1, 2)] == [[], [2]]
    assert detector.lines.bad == 1
    (problem,) = detector.problems
    assert problem.startswith("line 3 of the boxes")


def test_live_the_newest_line_is_used_once_and_frames_without_one_are_passed_over():
    detector = Detector(in_order=False)
    assert detector.boxes(0) is None
    detector.send(boxes(1), boxes(2), {"frame": "t-17", **boxes(3)})
    found = None
    while found is None or lefts(found) != [3]:
        time.sleep(0.01)
        found = detector.boxes(5) or found
    assert detector.lines.frame_id == "t-17"
    assert detector.boxes(6) is None


def test_live_the_last_line_is_used_before_the_end():
    detector = Detector(in_order=False)
    detector.send(boxes(1))
    detector.end()
    found = None
    while found is None:
        found = detector.boxes(0)
    assert lefts(found) == [1]
    time.sleep(0.1)
    with pytest.raises(BoxesEndError):
        detector.boxes(1)


def test_lines_that_no_frame_gets_are_counted():
    ordered = Detector(in_order=True)
    ordered.send({"frame": 2, **boxes(2)}, {"frame": 0, **boxes(0)}, {"frame": 1, **boxes(1)}, boxes(3), b"{")
    ordered.send({"frame": 3, **boxes(3)})
    ordered.end()
    assert [lefts(ordered.boxes(i)) for i in range(3)] == [None, None, [2]]
    # Late are frames 0, 1 and, after it, a line for 2; the bad one is for 3, and the last comes after it.
    assert lefts(ordered.boxes(3)) == []
    with pytest.raises(BoxesEndError):
        ordered.boxes(4)
    assert (ordered.lines.unused, ordered.lines.bad) == (4, 1)


def test_live_lines_that_newer_ones_overtook_are_counted():
    live = Detector(in_order=False)
    live.send(*[boxes(number) for number in range(500)])
    live.end()
    used, ended = 0, False
    while not ended:
        try:
            used += live.boxes(0) is not None
        except BoxesEndError:
            ended = True
    assert used >= 1
    assert used + live.lines.unused == 500


@pytest.mark.parametrize("in_order", [True, False])
def test_what_cannot_be_read_is_an_error_and_not_a_wait_for_ever(in_order, tmp_path):
    def opened(source):
        until = time.monotonic() + 5
        lines = BoxLines(source, in_order, lambda problem: None, lambda: time.monotonic() > until)
        while time.monotonic() < until:
            lines(frame(0))

    with pytest.raises(HmdrnError, match=r"cannot read boxes from .*: it is a folder; give - "):
        opened(tmp_path)
    with pytest.raises(HmdrnError, match=r"descriptor 9999: Bad file descriptor"):
        opened(9999)
    source, sink = os.pipe()
    with pytest.raises(HmdrnError, match=r"descriptor \d+: Bad file descriptor"):
        opened(sink)
    os.close(source)
    os.close(sink)


def test_a_named_pipe_without_a_writer_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "boxes")
    patience = 2

    def stopped():
        nonlocal patience
        patience -= 1
        return patience < 0

    lines = BoxLines(tmp_path / "boxes", True, lambda problem: None, stopped)
    assert lines(frame(0)) is None
    (tmp_path / "boxes").write_text(json.dumps(boxes(1)) + "\n")
    patience = 200
    assert lefts(lines(frame(0))) == [1]


def test_a_slow_robot_does_not_make_a_live_detector_wait():
    detector = Detector(in_order=False)
    for number in range(2000):
        detector.send(boxes(number))
    found = None
    while found is None or lefts(found) != [1999]:
        found = detector.boxes(0) or found


def test_a_line_keeps_what_its_detector_calls_the_frame():
    for name in (17, 1.5, "a.jpg", None):
        line = parse_line(json.dumps({"frame": name, "boxes": [BOX]}).encode(), 1)
        assert (line.frame, line.boxes, line.problem) == (name, (tuple(BOX),), "")
