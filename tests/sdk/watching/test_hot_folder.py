"""A folder that photos come into while it is watched."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest
from fake_classifier import FakeClassifier
from outcomes import assert_refused
from PIL import Image

import hmdrn
from hmdrn.visits import recorder
from hmdrn.watching import hot_folder
from hmdrn.watching.hot_folder import HotFolderCapture
from hmdrn.watching.seen_photos import STATE_NAME, SeenPhotos


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(hot_folder, "SCAN_SECONDS", 0.02)
    monkeypatch.setattr(hot_folder, "_POLL_SECONDS", 0.01)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def save(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (shade, 0, 0)).save(path, quality=95)
    return path


class Reader:
    """Reads a hot folder in this thread."""

    def __init__(self, folder, seconds=10.0):
        until = time.monotonic() + seconds
        self.closed = False
        is_closed = lambda: self.closed or time.monotonic() > until  # noqa: E731
        self.capture = HotFolderCapture(folder, folder / STATE_NAME, is_closed)

    def read(self, seconds=None):
        if seconds is not None:
            threading.Timer(seconds, setattr, (self, "closed", True)).start()
        return self.capture.read()


def test_photos_that_are_there_and_that_come_are_given_once(folder):
    first, second = save(folder / "a.jpg", 10), save(folder / "deep" / "b.jpg", 20)
    reader = Reader(folder)
    assert [reader.read(), reader.read()] == [first, second]
    third = save(folder / "deep" / "er" / "c.jpg", 30)
    (folder / "note.txt").write_text("no photo")
    assert reader.read() == third
    assert reader.read(0.2) is None


def test_a_half_written_photo_waits_until_it_is_whole(folder, tmp_path):
    data = save(tmp_path / "whole.jpg", 40).read_bytes()
    path = folder / "a.jpg"
    path.write_bytes(data[: len(data) // 2])
    reader = Reader(folder)
    threading.Timer(0.3, path.write_bytes, (data,)).start()
    start = time.monotonic()
    assert reader.read() == path
    assert time.monotonic() - start > 0.25
    assert path.read_bytes() == data


def test_a_photo_that_stays_damaged_is_given_out_at_last(folder, monkeypatch):
    monkeypatch.setattr(hot_folder, "PATIENCE_SECONDS", 0.2)
    (folder / "a.jpg").write_bytes(b"no photo")
    start = time.monotonic()
    assert Reader(folder).read() == folder / "a.jpg"
    assert time.monotonic() - start >= 0.2


def test_a_photo_that_is_renamed_into_the_folder_is_given(folder, tmp_path):
    reader = Reader(folder)
    hidden = save(folder / ".upload.jpg", 50)
    threading.Timer(0.1, hidden.replace, (folder / "a.jpg",)).start()
    assert reader.read() == folder / "a.jpg"
    save(tmp_path / "b.jpg", 60).replace(folder / "b.jpg")
    assert reader.read() == folder / "b.jpg"


def test_answered_photos_are_known_again_also_under_another_name(folder):
    path = save(folder / "a.jpg", 70)
    with_state = SeenPhotos(folder / STATE_NAME, folder)
    assert path not in with_state
    with_state.add(path)
    with_state.close()
    again = SeenPhotos(folder / STATE_NAME, folder)
    assert path in again
    (folder / "sorted").mkdir()
    moved = path.rename(folder / "sorted" / "z.jpg")
    assert moved in again
    save(path, 80)
    assert path not in again
    assert folder / "missing.jpg" not in again
    again.close()


def test_a_restart_repeats_nothing_and_misses_nothing(folder):
    for index in range(4):
        save(folder / f"{index}.jpg", 20 * index)
    (folder / "x.jpg").write_bytes(b"no photo")
    os.utime(folder / "x.jpg", (1e9, 1e9))  # long complete
    names, events = [], []

    def watch(**limits):
        watching = hmdrn.watch(FakeClassifier(), folder, follow=True, on_event=events.append, **limits)
        return [os.path.basename(result.frame.file) for result in watching]  # noqa: PTH119

    for limit in (1, 2, 1):
        names += watch(max_frames=limit, max_seconds=20)
    assert names == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert watch(max_seconds=0.3) == []
    assert [event.state for event in events] == ["unreadable"]
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        "0.jpg",
        "1.jpg",
        "2.jpg",
        "3.jpg",
        "x.jpg",
    ]


def test_a_damaged_list_of_seen_photos_is_reported(folder):
    (folder / STATE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(hmdrn.SourceError, match="cannot note the seen photos in"):
        list(hmdrn.watch(FakeClassifier(), folder, follow=True, max_seconds=1))


def test_the_command_follows_a_folder_with_its_list_elsewhere(hmdrn, site, folder, tmp_path):
    save(folder / "a.jpg", 90)
    arguments = ("watch", "default", "-g", site.gallery, "-s", folder, "--threads", 1, "--all", "--follow")
    state = tmp_path / "seen.sqlite"
    for expected in (["a.jpg"], []):
        outcome = hmdrn(*arguments, "--follow-state", state, "--max-seconds", 1)
        events = [json.loads(line) for line in outcome.out.splitlines()]
        files = [event["file"] for event in events if event["event"] == "frame"]
        assert [os.path.basename(file) for file in files] == expected  # noqa: PTH119
        assert outcome.code == 0
    assert state.exists()
    assert not (folder / STATE_NAME).exists()
    assert_refused(hmdrn(*arguments, "--loop"), "follow or loop")
    refused = hmdrn("watch", "default", "-g", site.gallery, "-s", site.film, "--follow")
    assert_refused(refused, "cannot follow", "give a folder")


def test_the_visit_of_the_last_photo_ends_while_no_other_comes(hmdrn, site, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "PHOTO_PAUSE_SECONDS", 0.1)
    save(folder / "a.jpg", 90)
    watched = ("watch", "default", "-g", site.gallery, "-s", folder, "--threads", 1, "--follow")
    done = hmdrn(*watched, "--visits", tmp_path / "a.visits", "--status", "0.1", "--max-seconds", 1.5)
    states = [json.loads(line) for line in done.out.splitlines() if '"status"' in line]
    assert states[-1]["visits"]["ended"] == 1


def test_a_new_list_of_seen_photos_can_be_opened_twice_at_once(tmp_path):
    failures: list[Exception] = []

    def open_list(path, barrier):
        barrier.wait()
        try:
            SeenPhotos(path, tmp_path)
        except hmdrn.HmdrnError as error:
            failures.append(error)

    for number in range(20):
        arguments = (tmp_path / f"{number}.sqlite", threading.Barrier(2))
        threads = [threading.Thread(target=open_list, args=arguments) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
