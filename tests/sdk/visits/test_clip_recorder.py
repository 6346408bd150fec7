"""Clips of visits: their time, a full disk, and that naming does not wait for them."""

from __future__ import annotations

import threading
from datetime import timedelta

import numpy as np
import pytest
from visit_examples import MORNING
from watched_frames import JAY, UNDECIDED, WREN, FullDisk, make_recorder, record, see

from hmdrn.visits import clip_recorder
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.errors import HmdrnError

SMALL = np.zeros((16, 16, 3), np.uint8)


def look(position, *sightings, **values):
    return see(position, *sightings, **{"pixels": SMALL, **values})


def watch_visit(start, end, until, step=0.25, state=None):
    """Frames from the beginning to a time, with a visit between two others."""
    sighting = (0, None, JAY, *([] if state is None else [state]))
    return [look(t, *([sighting] if start <= t <= end else [])) for t in np.arange(0, until + 0.01, step)]


def read_clips(store):
    return [
        None if v.clip is None else ((v.clip.start - MORNING).total_seconds(), v.clip.duration)
        for v in store.find()
    ]


def test_a_clip_shows_the_seconds_before_and_after_a_visit(store):
    recorder = make_recorder(store, clips=2)
    record(recorder, *watch_visit(4, 8, 20))
    (visit,) = store.find()
    assert visit.clip.start == MORNING + timedelta(seconds=2)
    assert visit.clip.duration == pytest.approx(8, abs=0.11)
    assert (visit.clip.width, visit.clip.height) == (16, 16)
    assert store.read_clip(visit.id).startswith(b"\x1aE\xdf\xa3")
    assert recorder.missing_clips == 0


def test_a_clip_ends_with_the_watching(store):
    record(make_recorder(store, clips=5), *watch_visit(1, 3, 3))
    assert read_clips(store) == [(0, pytest.approx(3, abs=0.11))]


def test_without_the_option_there_is_no_clip(store):
    record(make_recorder(store), *watch_visit(1, 3, 6))
    assert read_clips(store) == [None]


def test_two_subjects_at_once_have_a_clip_each(store):
    box, other = (0.0, 0.0, 12.0, 12.0), (4.0, 4.0, 16.0, 16.0)
    frames = [look(t, (1, box, JAY), *([(2, other, WREN)] if t >= 3 else [])) for t in range(6)]
    record(make_recorder(store, clips=1), *frames, look(7, gone=[1, 2]), look(9))
    assert read_clips(store) == [(0, pytest.approx(5.1)), (2, pytest.approx(3.1))]


def test_of_a_long_visit_the_clip_shows_the_beginning_and_is_there_while_it_lasts(store):
    recorder = make_recorder(store, clips=2)
    frames = watch_visit(10, 100, 100, step=0.5)
    for result in frames[:-1]:
        recorder.add(result)
    wait_for(lambda: read_clips(store) != [None])
    assert not store.find()[0].closed
    assert read_clips(store) == [(8, pytest.approx(30, abs=0.11))]
    record(recorder, frames[-1])
    assert read_clips(store) == [(8, pytest.approx(30, abs=0.11))]


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


def test_a_subject_that_stays_undecided_has_no_clip_and_misses_none(store):
    recorder = make_recorder(store, clips=1)
    record(recorder, *watch_visit(1, 40, 42, step=0.5, state=UNDECIDED))
    assert (store.count(), recorder.missing_clips) == (0, 0)


@pytest.mark.parametrize("options", [{}, {"live": False, "every_frame": False}], ids=["camera", "film"])
def test_what_drops_frames_does_not_wait_for_clips_and_counts_them(store, monkeypatch, options):
    began, go_on, encode = threading.Event(), threading.Event(), clip_recorder.encode_clip

    def encode_slowly(frames):
        began.set()
        go_on.wait(20)
        return encode(frames)

    monkeypatch.setattr(clip_recorder, "encode_clip", encode_slowly)
    monkeypatch.setattr(clip_recorder, "_MAX_JOBS", 2)
    recorder = make_recorder(store, clips=0, **options)
    for t in range(0, 140, 14):
        recorder.add(look(t, (0, None, JAY)))
        assert t < 28 or began.wait(20)
    assert store.count() == 9, "visits are written while no clip is"
    go_on.set()
    recorder.close()
    # One is encoded, two wait, and those of the last two visits are awaited at the end.
    assert recorder.missing_clips == 5
    assert [clip is not None for clip in read_clips(store)] == [True] * 3 + [False] * 5 + [True] * 2


def test_a_film_waits_for_the_encoder(store, monkeypatch):
    monkeypatch.setattr(clip_recorder, "_MAX_JOBS", 1)
    recorder = make_recorder(store, live=False, clips=0)
    record(recorder, *(look(t, (0, None, JAY)) for t in range(0, 140, 14)))
    assert (recorder.missing_clips, None in read_clips(store)) == (0, False)


def test_on_a_full_disk_visits_have_no_clips_and_it_is_said_once(store):
    messages: list[str] = []
    recorder = make_recorder(store, clips=1, live=False, report=messages.append)
    store._connection = FullDisk(store._connection, "INTO clips")
    record(recorder, *(look(t, (0, None, JAY)) for t in range(0, 45, 15)))
    assert [bool(visit.pictures) for visit in store.find()] == [True] * 3
    assert read_clips(store) == [None] * 3
    assert recorder.missing_clips == 3
    (message,) = messages
    assert "disk is full" in message
    assert message.endswith("until then visits have no clips")


def test_visits_that_wait_for_room_miss_their_clip(store):
    recorder = make_recorder(store, clips=1)
    store._connection = FullDisk(store._connection, "BEGIN")
    recorder.add(look(0, (0, None, JAY)))
    recorder.add(look(20, (0, None, JAY)))
    store._connection.refuses = "nothing"
    recorder.close()
    assert recorder.missing_clips == 1
    assert sorted(clip is not None for clip in read_clips(store)) == [False, True]


def test_memory_is_released_after_each_clip(store):
    recorder = make_recorder(store, clips=1)
    record(recorder, *watch_visit(4, 8, 80, step=0.5))
    recorder._clips._buffer.add(1e6, b"x")
    assert recorder._clips._buffer.size == 1


@pytest.mark.parametrize("seconds", [-1, 10.5, float("nan")])
def test_seconds_out_of_range_are_refused(store, seconds):
    with pytest.raises(HmdrnError, match="clips is"):
        make_recorder(store, clips=seconds)


def test_a_visit_that_was_deleted_meanwhile_misses_its_clip(tmp_path):
    with VisitStore(tmp_path / "a.visits", create=True) as store:
        recorder = make_recorder(store, clips=5)
        for result in watch_visit(0, 2, 3):
            recorder.add(result)
        recorder.add(look(3.5, gone=[0]))
        with store.transaction() as connection:
            connection.execute("DELETE FROM visits")
        recorder.close()
        assert (store.count(), recorder.missing_clips) == (0, 1)
