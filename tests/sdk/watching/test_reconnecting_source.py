"""A source that is reconnected, with captures that follow a test's script."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from hmdrn.watching import reader_thread, reconnecting_source
from hmdrn.watching.reconnecting_source import ReconnectingSource
from hmdrn.watching.sources import Source
from hmdrn_runtime.errors import SourceError

LIVE, FILE = Source("stream", "rtsp://camera", "rtsp://camera"), Source("video", "film.mp4", "film.mp4")
HANG, END, REFUSE, DIE = "hang", "end", "refuse", "die"


class Scripted:
    """A source whose openings each follow a script: a number of frames, and how it goes on then."""

    def __init__(self, *scripts: tuple[int, str]) -> None:
        self.scripts: Iterator[tuple[int, str]] = iter(scripts)
        self.opened: list[float] = []
        self.closed = 0
        self.released = threading.Event()

    def open(self, source: Source, stall_after: float, is_closed: object) -> Capture:
        self.opened.append(time.monotonic())
        frames, then = next(self.scripts)
        if then == REFUSE:
            raise SourceError("cannot open it")
        return Capture(self, frames, then)


class Capture:
    rate = 100.0
    frames = 0

    def __init__(self, script: Scripted, frames: int, then: str) -> None:
        self.script, self.left, self.then = script, frames, then

    def read(self):
        if self.left == 0:
            if self.then == DIE:
                raise RuntimeError("the driver is broken")
            if self.then == HANG:
                self.script.released.wait(20)
            return None
        self.left -= 1
        return np.full((4, 6, 3), self.left, np.uint8)

    def close(self) -> None:
        self.script.closed += 1


@pytest.fixture
def scripted(monkeypatch):
    made: list[Scripted] = []

    def make(*scripts):
        script = Scripted(*scripts)
        made.append(script)
        monkeypatch.setattr(reader_thread, "open_capture", script.open)
        monkeypatch.setattr(reconnecting_source, "FIRST_DELAY", 0.05)
        return script

    yield make
    for script in made:
        script.released.set()


def follow(target, frames, every_frame=True, stall_after=0.3, loop=False, limit=20.0):
    """Take some frames; returns them with what was reported."""
    states: list[str] = []
    source = ReconnectingSource(
        target, every_frame, loop, stall_after, lambda state, message: states.append(state)
    )
    taken = []
    until = time.monotonic() + limit
    while len(taken) < frames and not source.ended and time.monotonic() < until:
        frame = source.take(0.02)
        if frame is not None:
            taken.append(frame)
    source.close()
    return source, taken, states


def test_a_file_ends_after_its_last_frame(scripted):
    script = scripted((5, END))
    source, taken, states = follow(FILE, 99)
    assert [frame.index for frame in taken] == list(range(5))
    assert (source.ended, source.read, source.dropped, states) == (True, 5, 0, [])
    assert script.closed == 1


def test_a_file_that_loops_goes_on_counting(scripted):
    scripted((3, END), (3, END), (3, END))
    _, taken, states = follow(FILE, 9, loop=True)
    assert [frame.index for frame in taken] == list(range(9))
    assert [frame.position for frame in taken] == pytest.approx([i / 100 for i in range(9)])
    assert states == []


def test_a_file_without_frames_ends_a_loop(scripted):
    scripted((0, END), (0, END))
    with pytest.raises(SourceError, match=r"film\.mp4 has no frame"):
        follow(FILE, 1, loop=True)


def test_a_dead_live_source_is_reopened_with_growing_pauses(scripted):
    script = scripted((3, END), (0, REFUSE), (0, REFUSE), (0, END), (3, END))
    source, taken, states = follow(LIVE, 6)
    assert len(taken) == 6
    assert states == ["lost", "retrying", "retrying", "retrying", "retrying", "reconnected"]
    assert source.reconnects == 1
    pauses = np.diff(script.opened)
    assert all(pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.4), strict=True))


def test_after_a_frame_the_pauses_are_short_again(scripted):
    scripted((1, END), (0, REFUSE), (1, END), (1, END))
    source, taken, states = follow(LIVE, 3)
    assert len(taken) == 3
    assert states == ["lost", "retrying", "retrying", "reconnected", "lost", "retrying", "reconnected"]
    assert source.reconnects == 2


def test_a_stall_is_reported_and_the_hanging_thread_abandoned(scripted):
    script = scripted((2, HANG), (2, END))
    source, taken, states = follow(LIVE, 4)
    assert len(taken) == 4
    assert states == ["stalled", "retrying", "reconnected"]
    assert source.reconnects == 1
    # Whatever it wakes up with is not taken for a frame, and its device is let go.
    script.released.set()
    until = time.monotonic() + 5
    while script.closed < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert script.closed == 2
    assert source.read == 4


def test_the_number_of_hanging_threads_is_limited(scripted, monkeypatch):
    monkeypatch.setattr(reconnecting_source, "_OPEN_TIMEOUT", 0.1)
    script = scripted((1, HANG), *[(0, HANG)] * 20)
    follow(LIVE, 2, stall_after=0.05, limit=1.0)
    assert len(script.opened) <= reconnecting_source._MAX_ABANDONED + 1


def test_a_driver_that_breaks_is_a_source_that_died(scripted):
    scripted((2, DIE), (1, END))
    _, taken, states = follow(LIVE, 3)
    assert (len(taken), states[0]) == (3, "lost")
    scripted((0, DIE))
    with pytest.raises(SourceError, match=r"reading film\.mp4 failed: RuntimeError: the driver is broken"):
        follow(FILE, 1)


def test_a_live_source_that_never_gave_a_frame_is_an_error(scripted):
    for script, message in (((0, REFUSE), "cannot open"), ((0, END), "gave no frame"), ((0, HANG), "within")):
        scripted(script)
        with pytest.raises(SourceError, match=message):
            follow(LIVE, 1, stall_after=0.1)


def test_the_newest_frame_is_taken_and_dropped_ones_are_counted(scripted):
    scripted((50, HANG))
    source = ReconnectingSource(LIVE, False, False, 5.0, lambda state, message: None)
    until = time.monotonic() + 10
    while source.dropped < 49 and time.monotonic() < until:
        time.sleep(0.01)
    before = time.monotonic()
    frame = source.take(1.0)
    assert frame is not None
    assert (frame.index, source.read, source.dropped) == (49, 50, 49)
    assert frame.captured <= before  # its age counts from the camera, not from when it was taken
    source.close()


def test_a_film_that_is_played_like_a_camera_keeps_its_rate(scripted):
    scripted((30, END))
    began = time.monotonic()
    source, taken, _ = follow(FILE, 99, every_frame=False)
    assert time.monotonic() - began >= 29 / 100
    assert len(taken) + source.dropped == 30


def test_closing_does_not_wait_for_a_driver_that_hangs(scripted):
    scripted((1, HANG))
    source = ReconnectingSource(LIVE, False, False, 5.0, lambda state, message: None)
    assert source.take(5.0) is not None
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 5
