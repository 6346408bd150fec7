"""The file of visits: it gives back what was written, stays within its limits, and refuses other files."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from visit_examples import MORNING, encode_jpeg, make_clip, make_visit

from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.schema import SCHEMA_VERSION
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.errors import HmdrnError


def test_a_visit_is_read_as_it_was_written(store):
    visit = make_visit()
    stored = store.save(visit)
    assert replace(stored, id=0, pictures=()) == replace(visit, pictures=())
    assert [replace(p, id=0, jpeg=None) for p in stored.pictures] == [
        replace(p, jpeg=None) for p in visit.pictures
    ]
    assert [store.read_picture(p.id) for p in stored.pictures] == [p.jpeg for p in visit.pictures]
    assert stored.end - stored.start == timedelta(seconds=4)


def test_a_clip_is_read_as_it_was_written(store):
    visit, clip = store.save(make_visit()), make_clip(webm=b"film")
    assert store.save_clip(visit.id, make_clip())
    assert store.save_clip(visit.id, clip)
    assert store.find() == [replace(visit, clip=replace(clip, webm=None))]
    assert store.read_clip(visit.id) == b"film"
    longer = store.save(replace(visit, duration=60.0, pictures=make_visit().pictures))
    assert longer.clip == replace(clip, webm=None), "a visit that goes on keeps its clip"


def test_a_visit_that_is_gone_gets_no_clip(store):
    assert not store.save_clip(7, make_clip())
    with pytest.raises(HmdrnError, match="no clip of visit 7"):
        store.read_clip(7)


def test_the_file_is_private_and_opens_in_sqlite(store):
    store.save(make_visit(label="Größte Möwe"))
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    reader = sqlite3.connect(store.path)
    assert reader.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    (row,) = reader.execute("SELECT label, start_time, known FROM visits").fetchall()
    assert row == ("Größte Möwe", "2026-05-01T08:30:00.000Z", 1)
    reader.close()


def test_a_longer_sight_of_a_visit_replaces_it(store):
    first = store.save(make_visit(closed=False))
    longer = replace(make_visit(pictures=1), id=first.id, duration=60.0, frames=90)
    again = store.save(longer)
    assert (store.count(), again.duration, again.closed, len(again.pictures)) == (1, 60.0, True, 1)
    assert store.query("SELECT count(*) FROM pictures")[0][0] == 1


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (VisitFilter(), [1, 2, 3, 4]),
        (VisitFilter(species=["Jay"]), [1, 3]),
        (VisitFilter(species=["Jay", "Wren"]), [1, 2, 3]),
        (VisitFilter(known=True), [1, 2, 3]),
        (VisitFilter(known=False), [4]),
        (VisitFilter(source="garden"), [3]),
        (VisitFilter(since=MORNING + timedelta(hours=2)), [3, 4]),
        (VisitFilter(since=MORNING + timedelta(seconds=3)), [1, 2, 3, 4]),
        (VisitFilter(until=MORNING + timedelta(hours=2)), [1, 2]),
        (VisitFilter(since=(MORNING + timedelta(hours=2)).astimezone(timezone(timedelta(hours=9)))), [3, 4]),
        (VisitFilter(ids=[2, 4, 9]), [2, 4]),
        (VisitFilter(species=["Jay"], source="garden", known=True), [3]),
        (VisitFilter(source="%"), []),
    ],
)
def test_filters_choose_visits(store, where, expected):
    for visit in (
        make_visit(0),
        make_visit(1, "Wren"),
        make_visit(2, source="garden"),
        make_visit(3, None),
    ):
        store.save(visit)
    assert [visit.id for visit in store.find(where)] == expected
    assert store.count(where) == len(expected)


def test_the_newest_visits_come_first_on_request(store):
    for hours in (2, 0, 1):
        store.save(make_visit(hours))
    assert [visit.id for visit in store.find()] == [2, 3, 1]
    assert [visit.id for visit in store.find(limit=2, newest_first=True)] == [1, 3]


def test_a_full_file_loses_its_oldest_pictures_and_keeps_the_visits(tmp_path):
    big = tuple(replace(p, jpeg=encode_jpeg(7, 400)) for p in make_visit().pictures)
    size = len(big[0].jpeg)
    with VisitStore(tmp_path / "small.visits", create=True, max_megabytes=1) as store:
        for hours in range(20):
            store.save(
                make_visit(hours, pictures=2) if hours == 0 else replace(make_visit(hours), pictures=big)
            )
        visits = store.find()
        with_pictures = [visit.id for visit in visits if visit.pictures]
    assert len(visits) == 20
    assert with_pictures == list(range(21 - len(with_pictures), 21))
    assert 2 <= len(with_pictures) <= 1e6 / size / 2
    assert (tmp_path / "small.visits").stat().st_size <= 1e6


def test_without_pictures_the_oldest_visits_go(tmp_path):
    with VisitStore(tmp_path / "small.visits", create=True, max_megabytes=1) as store:
        store.save(make_visit(0, pictures=0))
        with store.transaction() as connection:
            connection.execute("UPDATE visits SET source = ?", ["x" * 990_000])
        store.save(make_visit(1, pictures=0))
        assert [visit.id for visit in store.find()] == [2]


def test_old_visits_are_deleted_but_not_those_of_a_clock_that_was_not_set(tmp_path):
    def at(days):
        return replace(make_visit(), start=datetime.now(timezone.utc) - timedelta(days=days))

    with VisitStore(tmp_path / "a.visits", create=True, max_days=30) as store:
        unset = store.save(replace(make_visit(), start=MORNING.replace(year=1970)))
        store.save(at(40))
        recent = store.save(at(20))
        store.save(at(0))
        assert [visit.id for visit in store.find()][:2] == [unset.id, recent.id]
        assert store.count() == 3


def test_a_clock_that_jumps_ahead_deletes_few_visits_at_once(tmp_path):
    with VisitStore(tmp_path / "a.visits", create=True) as store:
        for hours in range(60):
            store.save(make_visit(hours, pictures=0))
    with VisitStore(tmp_path / "a.visits", max_days=0.001) as store:
        store.save(make_visit(100, pictures=0))
        assert store.count() == 41


def test_a_visit_that_does_not_fit_leaves_nothing_behind(store):
    store.save(make_visit())
    store._connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(HmdrnError, match="database or disk is full"):
        store.save(replace(make_visit(), pictures=(replace(make_visit().pictures[0], jpeg=b"x" * 200_000),)))
    assert store.count() == 1
    assert store.query("SELECT count(*) FROM pictures")[0][0] == 2
    assert store.query("PRAGMA integrity_check")[0][0] == "ok"


def test_threads_and_connections_write_at_once(store):
    def write(opened):
        for _ in range(20):
            opened.save(make_visit(pictures=1))

    with VisitStore(store.path) as other:
        threads = [threading.Thread(target=write, args=(opened,)) for opened in (store, store, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other.count() == 60
        assert other.query("SELECT count(*) FROM pictures")[0][0] == 60


def test_pictures_and_clips_go_with_their_visit(store):
    store.save_clip(store.save(make_visit()).id, make_clip())
    with store.transaction() as connection:
        connection.execute("DELETE FROM visits")
    assert store.query("SELECT count(*) FROM pictures")[0][0] == 0
    assert store.query("SELECT count(*) FROM clips")[0][0] == 0


def test_visits_that_a_killed_run_left_open_are_closed(store):
    store.save(make_visit(closed=False))
    assert store.close_open() == 1
    assert store.find()[0].closed


def test_a_file_on_a_read_only_medium_can_be_read(tmp_path, monkeypatch):
    with VisitStore(tmp_path / "a.visits", create=True) as store:
        store.save(make_visit())
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with VisitStore(tmp_path / "a.visits") as store:
        assert store.count() == 1
        with pytest.raises(HmdrnError, match="readonly"):
            store.save(make_visit())


def write_database(path, version):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE birds (name TEXT)")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()


def make_newer(path):
    VisitStore(path, create=True).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no visits at"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"not a database" * 100), "cannot be opened as visits"),
        (lambda path: write_database(path, 0), "not a file of visits"),
        (lambda path: write_database(path, 7), "not a file of visits"),
        (make_newer, "a newer hmdrn"),
    ],
)
def test_a_file_that_is_no_diary_is_refused_and_left_alone(tmp_path, make, words):
    path = tmp_path / "file"
    make(path)
    content = path.read_bytes() if path.is_file() else None
    with pytest.raises(HmdrnError, match=words):
        VisitStore(path)
    if content is not None:
        assert path.read_bytes() == content


def test_another_programs_database_is_not_written_into(tmp_path):
    write_database(tmp_path / "birds.db", 0)
    with pytest.raises(HmdrnError, match="another program's database"):
        VisitStore(tmp_path / "birds.db", create=True)


@pytest.mark.parametrize("limits", [{"max_megabytes": 0.5}, {"max_megabytes": float("nan")}, {"max_days": 0}])
def test_limits_out_of_range_are_refused(tmp_path, limits):
    with pytest.raises(HmdrnError, match=next(iter(limits))):
        VisitStore(tmp_path / "a.visits", create=True, **limits)


def test_a_missing_visit_or_picture_is_an_error_with_its_number(store):
    with pytest.raises(HmdrnError, match="no visit 7"):
        store.get(7)
    with pytest.raises(HmdrnError, match="no picture 7"):
        store.read_picture(7)
