"""The state of a running watch, and whether it is healthy."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from fake_classifier import FakeClassifier, make_prediction

import hmdrn
from hmdrn.watching.reconnecting_source import ReconnectingSource
from hmdrn.watching.status import DiaryStatus, LoopMonitor, WatchStatus, assess_health, read_memory
from hmdrn.watching.unchanged import UNCHANGED
from hmdrn_runtime.errors import HmdrnError

RUNNING = WatchStatus("camera 0", seconds=500, read=100, classified=90, frame_age=0.1)
FULL = DiaryStatus(visits=3, without_pictures=1, is_failing=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (True, "ok")),
        ({"frame_age": None, "seconds": 29}, (True, "starting")),
        ({"frame_age": None, "seconds": 31}, (False, "no frames")),
        ({"frame_age": 31}, (False, "no frames")),
        ({"frame_age": 31, "interval": 10}, (True, "ok")),
        ({"frame_age": 1e5, "waits": True}, (True, "ok")),
        ({"frame_age": None, "waits": True}, (True, "ok")),
        ({"frame_age": 10, "is_lost": True}, (True, "source lost")),
        ({"frame_age": 31, "is_lost": True}, (False, "source lost")),
        ({"loop_age": 31}, (False, "hanging")),
        ({"loop_age": 31, "waits": True}, (False, "hanging")),
        ({"loop_age": 31, "is_ending": True}, (True, "ending")),
        ({"diary": FULL}, (True, "disk full")),
        ({"diary": replace(FULL, is_failing=False)}, (True, "ok")),
        ({"diary": FULL, "frame_age": 31}, (False, "no frames")),
    ],
)
def test_health_is_by_the_age_of_the_last_frame_and_of_the_loop(changes, expected):
    health = assess_health(replace(RUNNING, **changes))
    assert (health.is_ok, health.state) == expected


def test_the_silence_that_is_too_long_is_chosen_and_above_0():
    assert not assess_health(replace(RUNNING, frame_age=3), silence=2).is_ok
    with pytest.raises(HmdrnError, match="silence is 0"):
        assess_health(RUNNING, silence=0)


def test_the_rate_is_that_of_the_last_seconds_and_falls_while_the_loop_hangs():
    monitor = LoopMonitor(100.0)
    for step in range(1, 601):  # a minute at 2 frames a second, then at 5
        seconds = step / 10
        frames = 2 * min(seconds, 40) + 5 * max(0, seconds - 40)
        monitor.step(100 + seconds, int(frames))
    age, rate = monitor.measure(160.0)
    assert age == pytest.approx(0)
    assert rate == pytest.approx(5, rel=0.1)
    age, rate = monitor.measure(250.0)
    assert age == pytest.approx(90)
    assert rate < 0.6


def test_a_status_is_json_ready():
    end = datetime(2026, 5, 1, 8, 30, tzinfo=timezone.utc)
    diary = DiaryStatus(3, 1, 2, True, "Jay", end, 4)
    values = replace(RUNNING, memory=123_400_000, generation=7, rate=9.876, diary=diary).to_dict()
    assert values["visits"] == {
        "ended": 3,
        "waiting": 1,
        "without_pictures": 2,
        "without_clips": 4,
        "last": {"species": "Jay", "end": "2026-05-01T08:30:00.000Z"},
    }
    numbers = [values[name] for name in ("memory_mb", "gallery_generation", "frames_per_second")]
    assert numbers == [123.4, 7, 9.88]
    assert RUNNING.to_dict()["visits"] is None


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")  # noqa: PTH110
def test_the_memory_is_the_resident_memory_of_the_process():
    before = read_memory()
    block = b"x" * 80_000_000
    assert before > 10_000_000
    assert 70_000_000 < read_memory() - before < 90_000_000
    assert block


def test_a_watch_reports_its_state_to_other_threads(site, recognizer):
    watching = hmdrn.watch(recognizer, site.film, max_frames=3)
    states = []

    def look():
        states.append(watching.status())

    look()
    for _ in watching:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    look()
    assert [state.classified for state in states] == [0, 1, 2, 3, 3]
    assert states[0].frame_age is None
    assert 0 <= states[-1].frame_age < 10
    assert states[-1].source == str(site.film)
    assert states[-1].interval == pytest.approx(1 / 30, rel=0.01)
    assert states[-1].generation == recognizer.gallery.generation
    assert (states[-1].waits, states[-1].is_lost, states[-1].diary) == (False, False, None)


def test_a_consumer_that_hangs_is_noticed(site):
    watching = hmdrn.watch(FakeClassifier(make_prediction("Jay")), site.film)
    next(iter(watching))
    monitor = watching._monitor
    monitor.step(monitor._last - 60, 1)
    assert assess_health(watching.status()).state == "hanging"


def test_pictures_that_have_not_changed_count_as_signs_of_life(monkeypatch):
    class Still:
        rate, frames = 100.0, 0

        def read(self):
            return UNCHANGED

        def close(self):
            pass

    monkeypatch.setattr("hmdrn.watching.reader_thread.open_capture", lambda *arguments: Still())
    source = hmdrn.watching.sources.parse_source("http://camera.local/a.jpg")
    frames = ReconnectingSource(source, False, False, 5.0, lambda state, message: None)
    assert frames.take(0.1) is None
    frames.close()
    assert frames.last_frame_time is not None
    assert not frames.is_lost
