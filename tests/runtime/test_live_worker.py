from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, wait
from typing import Any

import numpy as np
import pytest

import hmdrn
from hmdrn_runtime import live_worker as module
from hmdrn_runtime.errors import FrameDroppedError, HmdrnError, ImageError
from hmdrn_runtime.live_worker import LiveWorker


class Gate:
    """Work that waits until it is let through, and notes what came."""

    def __init__(self) -> None:
        self.open, self.begun, self.seen = threading.Event(), threading.Event(), list[Any]()

    def __call__(self, frame: Any) -> Any:
        self.begun.set()
        assert self.open.wait(10)
        self.seen.append(frame)
        return frame


def test_answers_come_in_the_order_of_the_frames():
    with LiveWorker(lambda frame: frame * 2, waiting=50) as live:
        futures = [live.submit(i) for i in range(50)]
        assert [future.result(10) for future in futures] == [2 * i for i in range(50)]
    assert live.dropped == 0


def test_the_oldest_waiting_frame_is_dropped_and_the_newest_are_answered():
    gate = Gate()
    with LiveWorker(gate, waiting=2) as live:
        first = live.submit(0)
        assert gate.begun.wait(10)
        later = [live.submit(i) for i in range(1, 7)]
        for dropped in later[:4]:
            with pytest.raises(FrameDroppedError, match="dropped for newer frames: 2 were waiting already"):
                dropped.result(0)
        gate.open.set()
        assert [f.result(10) for f in (first, *later[4:])] == [0, 5, 6]
    assert gate.seen == [0, 5, 6]
    assert live.dropped == 4


def test_handing_over_a_frame_never_waits_for_the_work():
    gate = Gate()
    with LiveWorker(gate, waiting=1) as live:
        first = live.submit(0)
        assert gate.begun.wait(10)
        for i in range(1000):
            live.submit(i)
        assert not first.done()
        gate.open.set()


def test_an_error_reaches_the_one_who_asked_and_the_next_frame_is_answered():
    def work(frame: int) -> float:
        return 1 / frame

    with LiveWorker(work) as live:
        with pytest.raises(ZeroDivisionError):
            live.submit(0).result(10)
        assert live.submit(4).result(10) == 0.25


def test_a_cancelled_frame_is_not_worked_on():
    gate = Gate()
    with LiveWorker(gate, waiting=2) as live:
        live.submit("first")
        assert gate.begun.wait(10)
        second, third = live.submit("second"), live.submit("third")
        assert second.cancel()
        gate.open.set()
        assert third.result(10) == "third"
        with pytest.raises(CancelledError):
            second.result(0)
    assert gate.seen == ["first", "third"]


def test_a_camera_may_fill_its_buffer_anew_at_once():
    gate = Gate()
    with LiveWorker(gate) as live:
        buffer = np.zeros(3)
        future = live.submit(buffer)
        buffer[:] = 9
        gate.open.set()
        assert future.result(10).tolist() == [0, 0, 0]


def test_a_closed_worker_drops_what_waits_and_takes_no_more():
    gate = Gate()
    live = LiveWorker(gate)
    first = live.submit(1)
    assert gate.begun.wait(10)
    second = live.submit(2)
    threading.Timer(0.05, gate.open.set).start()
    live.close()
    assert first.result(0) == 1
    with pytest.raises(FrameDroppedError, match="the live worker was closed"):
        second.result(0)
    with pytest.raises(HmdrnError, match="is closed: open another"):
        live.submit(3)
    live.close()


def test_what_is_called_at_an_answer_may_hand_over_the_next_frame_or_close():
    answered = threading.Event()
    live: LiveWorker[int] = LiveWorker(lambda frame: frame + 1)

    def again(future: Any) -> None:
        if future.result() < 5:
            live.submit(future.result()).add_done_callback(again)
        else:
            live.close()
            answered.set()

    live.submit(0).add_done_callback(again)
    assert answered.wait(10)


@pytest.mark.slow
def test_an_idle_thread_ends_and_the_next_frame_starts_another(monkeypatch):
    monkeypatch.setattr(module, "_IDLE", 0.02)
    live: LiveWorker[int] = LiveWorker(lambda frame: frame)
    for i in range(3):
        assert live.submit(i).result(10) == i
        until = time.monotonic() + 10
        while any(t.name == "hmdrn-live" for t in threading.enumerate()) and time.monotonic() < until:
            time.sleep(0.005)
        assert not any(t.name == "hmdrn-live" for t in threading.enumerate())


def test_many_threads_that_hand_over_frames_get_an_answer_or_a_drop_each():
    live: LiveWorker[int] = LiveWorker(lambda frame: frame, waiting=3)
    futures: list[Any] = []

    def feed(turn: int) -> None:
        for i in range(300):
            futures.append(live.submit(1000 * turn + i))

    threads = [threading.Thread(target=feed, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wait(futures, 10).not_done
    assert sum(isinstance(f.exception(), FrameDroppedError) for f in futures) == live.dropped
    live.close()


def test_less_than_one_waiting_frame_is_refused():
    with pytest.raises(HmdrnError, match="waiting is 0: let at least 1 frame wait"):
        LiveWorker(abs, waiting=0)


@pytest.fixture(scope="module")
def birds() -> Any:
    one = hmdrn.load("default", threads=1)
    for i, label in enumerate(("ant", "bee")):
        one.enroll(label, np.random.default_rng(i).integers(0, 256, (2, 84, 84, 3), dtype=np.uint8))
    return one


FRAME = np.random.default_rng(9).integers(0, 256, (100, 120, 3), dtype=np.uint8)


def test_a_recognizer_answers_frames_as_it_answers_photos(birds):
    expected = birds.classify(FRAME)
    assert birds.classify_async(FRAME).result(10) == expected
    boxes = [(0, 0, 60, 60), (20, 20, 100, 100)]
    assert birds.classify_async(FRAME, boxes).result(10) == birds.classify(FRAME, boxes)
    with pytest.raises(ImageError):
        birds.classify_async(b"no photo").result(10)


def test_a_coroutine_can_await_an_answer(birds):
    async def ask() -> Any:
        return await asyncio.wrap_future(birds.classify_async(FRAME))

    assert asyncio.run(ask()) == birds.classify(FRAME)


def test_a_process_ends_while_frames_wait():
    code = """
import numpy as np, hmdrn
birds = hmdrn.load("default", threads=1)
birds.enroll("ant", np.zeros((84, 84, 3), np.uint8) + 7)
for _ in range(20):
    birds.classify_async(np.zeros((1080, 1920, 3), np.uint8))
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
