"""Tracks become visits: their beginning and end, names, pictures, and a file that cannot be written."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from visit_examples import MORNING
from watched_frames import JAY, STRANGER, UNDECIDED, WREN, FullDisk, make_recorder, record, see

from hmdrn.visits import recorder
from hmdrn.watching.frames import Frame
from hmdrn.watching.results import Sighting, WatchResult
from hmdrn.watching.smoothing import SmoothedLabel
from hmdrn.watching.status import DiaryStatus

BOX = (10.0, 20.0, 90.0, 110.0)


def test_a_track_is_one_visit_from_first_to_last_sight(store):
    frames = [see(t, (1, BOX, JAY)) for t in np.arange(2.0, 5.01, 0.1)]
    (visit,) = record(make_recorder(store), *frames, see(6.5, gone=[1]))
    assert (visit.label, visit.known, visit.track, visit.frames) == ("Jay", True, 1, 31)
    assert visit.start == MORNING + timedelta(seconds=2)
    assert visit.duration == pytest.approx(3.0)
    assert visit.naming.probability == pytest.approx(0.9)
    assert (visit.naming.model, visit.naming.generation, visit.source) == ("f00d", 3, "camera 0")
    assert store.find() == [visit]


def test_pictures_are_cut_to_the_box_and_at_most_three(store):
    boxes = [(0.0, 0.0, 60.0, 40.0), (0.0, 0.0, 100.0, 100.0), (0.0, 0.0, 50.0, 40.0)]
    frames = [see(t, (1, box, JAY)) for t, box in enumerate(boxes)]
    (visit,) = record(make_recorder(store), *frames)
    largest = next(p for p in visit.pictures if "largest" in p.reasons)
    assert (largest.box, largest.width, largest.height) == (boxes[1], 100, 100)
    assert 1 <= len(visit.pictures) <= 3
    assert sorted(r for p in visit.pictures for r in p.reasons) == ["largest", "sharpest", "typical"]


def test_two_subjects_at_once_are_two_visits(store):
    other = (100.0, 20.0, 150.0, 110.0)
    frames = [see(t, (1, BOX, JAY), (2, other, WREN)) for t in range(3)]
    visits = record(make_recorder(store), *frames)
    assert sorted((v.track, v.label) for v in visits) == [(1, "Jay"), (2, "Wren")]


def test_an_unknown_visit_keeps_the_nearest_species_and_no_probability(store):
    (visit,) = record(make_recorder(store), *(see(t, (1, BOX, STRANGER)) for t in range(3)))
    assert (visit.label, visit.known, visit.naming.probability) == (None, False, None)
    assert visit.naming.nearest == "Jay"
    assert visit.pictures


def test_a_subject_that_stays_undecided_is_no_visit(store):
    assert record(make_recorder(store), see(0, (1, BOX, JAY, UNDECIDED))) == []
    assert store.count() == 0


def test_without_boxes_another_species_begins_another_visit(store):
    frames = [see(t, (0, None, JAY)) for t in range(4)] + [see(t, (0, None, WREN)) for t in range(4, 8)]
    visits = record(make_recorder(store), *frames)
    assert [(v.label, v.frames) for v in visits] == [("Jay", 4), ("Wren", 4)]


def test_a_track_keeps_its_visit_when_its_label_changes(store):
    frames = [see(t, (1, BOX, JAY)) for t in range(4)] + [see(t, (1, BOX, WREN)) for t in range(4, 6)]
    (visit,) = record(make_recorder(store), *frames)
    assert (visit.label, visit.frames) == ("Jay", 6)


def test_a_pause_ends_a_visit(store):
    visits = record(make_recorder(store), *(see(t, (0, None, JAY)) for t in (0, 9, 20)))
    assert [v.frames for v in visits] == [2, 1]


@pytest.mark.parametrize("jump", [-86400.0, 86400.0 * 365])
def test_a_clock_that_jumps_changes_no_duration(store, jump):
    frames = [see(t, (1, BOX, JAY), clock=t + jump * (t >= 2)) for t in range(5)]
    (visit,) = record(make_recorder(store), *frames)
    assert (visit.start, visit.duration) == (MORNING, 4.0)


def test_times_of_a_film_follow_the_film_not_the_clock(store):
    frames = [see(t, (0, None, JAY if t < 20 else WREN), clock=t / 100) for t in range(0, 40, 5)]
    first, second = record(make_recorder(store, live=False), *frames)
    assert second.start - first.start == timedelta(seconds=20)


def test_a_long_visit_is_written_while_it_lasts(store):
    recorder = make_recorder(store)
    for t in range(0, 65, 5):
        recorder.add(see(t, (1, BOX, JAY)))
    (visit,) = store.find()
    assert (visit.closed, visit.duration) == (False, 60.0)
    recorder.close()
    (visit,) = store.find()
    assert (visit.closed, visit.frames) == (True, 13)
    make_recorder(store)


def test_a_new_run_closes_what_a_killed_one_left_open(store):
    recorder = make_recorder(store)
    for t in range(0, 35, 5):
        recorder.add(see(t, (1, BOX, JAY)))
    make_recorder(store)
    assert [v.closed for v in store.find()] == [True]


def test_photos_are_visits_by_their_times_of_capture(store, tmp_path):
    results = []
    for n, second in enumerate((0, 4, 9, 40)):
        path = tmp_path / f"{n}.jpg"
        Image.effect_noise((80, 60), 90).convert("RGB").save(path)
        frame = Frame(n, float(n), MORNING.timestamp() + second, 0.0, path)
        sighting = Sighting(0, None, JAY, SmoothedLabel("species", "Jay"), UNDECIDED)
        results.append(WatchResult(frame, (sighting,), (), 0.0))
    recorder = make_recorder(store)
    recorder.add(results[0])
    assert store.count() == 1, "a photo is in the diary before the next one comes"
    visits = record(recorder, *results[1:])
    assert [(v.frames, v.duration) for v in visits] == [(3, 9.0), (1, 0.0)]
    assert store.count() == 2
    assert visits[0].start == MORNING


@pytest.mark.parametrize(("is_photo", "seconds"), [(False, 10), (True, 60)])
def test_a_visit_ends_without_a_further_frame(store, tmp_path, monkeypatch, is_photo, seconds):
    now = [100.0]
    monkeypatch.setattr(recorder, "time", SimpleNamespace(monotonic=lambda: now[0]))
    result = see(0, (0, None, JAY))
    if is_photo:
        path = tmp_path / "a.png"
        Image.effect_noise((80, 60), 90).convert("RGB").save(path)
        result = replace(result, frame=Frame(0, 0.0, MORNING.timestamp(), 0.0, path))
    visits = make_recorder(store)
    assert visits.end_pause() == []
    visits.add(result)
    now[0] += seconds - 0.1
    assert visits.end_pause() == []
    now[0] += 0.2
    assert [(visit.label, visit.closed) for visit in visits.end_pause()] == [("Jay", True)]
    assert visits.end_pause() == visits.close() == []
    assert [visit.closed for visit in store.find()] == [True]


def test_a_pause_in_reading_a_film_ends_no_visit(store, monkeypatch):
    visits = make_recorder(store, live=False)
    visits.add(see(0, (1, BOX, JAY)))
    monkeypatch.setattr(recorder, "time", SimpleNamespace(monotonic=lambda: 1e9))
    assert visits.end_pause() == []


def test_on_a_full_disk_visits_have_no_pictures_and_it_is_said_once(store):
    messages: list[str] = []
    recorder = make_recorder(store, report=messages.append)
    store._connection = FullDisk(store._connection, "INSERT INTO pictures")
    for t in range(0, 60, 20):
        recorder.add(see(t, (0, None, JAY)))
    store._connection.refuses = "nothing"
    recorder.add(see(80, (0, None, JAY)))
    assert recorder.status() == DiaryStatus(3, 0, 2, False, "Jay", MORNING + timedelta(seconds=40))
    recorder.close()
    assert [bool(v.pictures) for v in store.find()] == [False, False, True, True]
    assert len(messages) == 1
    assert "disk is full" in messages[0]


def test_room_on_the_disk_is_kept_until_it_is_full(store):
    reserve = store.path.with_name("site.visits.reserve")
    recorder = make_recorder(store)
    assert (reserve.stat().st_size, reserve.stat().st_mode & 0o777) == (1 << 20, 0o600)
    store._connection = FullDisk(store._connection, "INSERT INTO pictures")
    recorder.add(see(0, (0, None, JAY)))
    recorder.add(see(20, (0, None, JAY)))
    assert not reserve.exists()
    store._connection.refuses = "nothing"
    recorder.add(see(40, (0, None, JAY)))
    assert reserve.exists()
    recorder.close()
    assert not reserve.exists()


def test_visits_wait_in_memory_while_nothing_can_be_written(store):
    messages: list[str] = []
    recorder = make_recorder(store, report=messages.append)
    store._connection = FullDisk(store._connection, "BEGIN")
    for t in range(0, 80, 20):
        recorder.add(see(t, (0, None, JAY)))
    assert store.count() == 0
    status = recorder.status()
    assert (status.visits, status.waiting, status.without_pictures, status.is_failing) == (3, 3, 3, True)
    store._connection.refuses = "nothing"
    recorder.close()
    assert store.count() == 4
    assert not recorder.status().is_failing
    assert recorder.count == 4
    assert len(messages) == 1
