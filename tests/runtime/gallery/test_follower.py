"""A recognizer that follows its gallery's file, which other processes change."""

from __future__ import annotations

import os
import warnings

import pytest

import hmdrn
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery import follower as module
from hmdrn_runtime.gallery.file import load_gallery, save_gallery


@pytest.fixture(scope="module")
def photos():
    return hmdrn.draw_specimens(range(4), 3, size=84)


@pytest.fixture(scope="module")
def opened(photos):
    recognizer = hmdrn.load("default", threads=1)
    for number in range(2):
        recognizer.enroll(f"species {number}", photos[number, :2])
    return recognizer


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Every call looks at the file."""
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    monkeypatch.setattr(module, "RETRY", 0.0)


@pytest.fixture
def path(opened, tmp_path):
    gallery = hmdrn.Gallery(opened.bundle.manifest.network, opened.gallery.species)
    save_gallery(gallery, tmp_path / "site.gallery")
    return tmp_path / "site.gallery"


@pytest.fixture
def start(opened, path):
    """Open the file as a process does: start(**options)."""

    def make(report=None):
        recognizer = hmdrn.Recognizer(opened.bundle, opened.backend, load_gallery(path))
        if report is not None:
            recognizer.follow_gallery(path, report)
        return recognizer

    return make


def test_a_species_that_another_process_enrolls_is_recognized(start, path, photos):
    messages = []
    camera, fixed, desk = start(messages.append), start(), start()
    assert camera.classify(photos[2, 2]).label != "species 2"
    desk.enroll("species 2", photos[2, :2])
    desk.save_gallery(path)
    assert camera.classify(photos[2, 2]).label == "species 2"
    assert camera.explain(photos[2, 2]).prediction.label == "species 2"
    assert fixed.classify(photos[2, 2]).label != "species 2"
    desk.forget("species 2")
    desk.gallery.rename("species 1", "moth")
    desk.save_gallery(path)
    assert list(camera.gallery) == ["moth", "species 0"]
    assert camera.classify_batch(photos[1])[0].label == "moth"
    assert messages == []


def test_own_changes_that_are_not_saved_stay(start, path, photos):
    camera, desk = start(print), start()
    camera.enroll("own", photos[3, :2])
    camera.forget("species 0")
    desk.enroll("species 2", photos[2, :2])
    desk.save_gallery(path)
    assert camera.classify(photos[2, 2]).label == "species 2"
    assert list(camera.gallery) == ["own", "species 1", "species 2"]
    camera.save_gallery(path)
    assert list(load_gallery(path)) == ["own", "species 1", "species 2"]


@pytest.mark.parametrize("damage", ["cut off", "empty", "missing", "a text"])
def test_a_broken_file_is_reported_once_and_the_old_gallery_answers(start, path, photos, damage):
    messages = []
    camera, desk = start(messages.append), start()
    label, whole = camera.classify(photos[1, 2]).label, path.read_bytes()
    broken = {"cut off": whole[: len(whole) // 2], "empty": b"", "a text": b"nothing here"}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(broken[damage])
    for _ in range(3):
        assert camera.classify(photos[1, 2]).label == label
    (message,) = messages
    assert message.startswith("the gallery stays as it is, as its file cannot be used: ")
    desk.enroll("species 2", photos[2, :2])
    path.write_bytes(whole)
    desk.save_gallery(path)
    assert camera.classify(photos[2, 2]).label == "species 2"
    path.write_bytes(b"again")
    camera.classify(photos[1, 2])
    assert len(messages) == 2


def test_a_gallery_that_cannot_be_solved_is_not_taken(start, path, photos, monkeypatch):
    messages = []
    camera, desk = start(messages.append), start()
    camera.classify(photos[1, 2])
    desk.enroll("species 2", photos[2, :2])
    desk.save_gallery(path)
    solve = camera.matcher.solve

    def fail(*_):
        raise hmdrn.EnrollmentError("the solve did not converge")

    monkeypatch.setattr(camera.matcher, "solve", fail)
    for _ in range(2):
        assert camera.classify(photos[1, 2]).label == "species 1"
    assert messages == [f"{messages[0].partition(': ')[0]}: the solve did not converge"]
    monkeypatch.setattr(camera.matcher, "solve", solve)
    assert camera.classify(photos[2, 2]).label == "species 2"


def test_an_older_file_in_its_place_is_taken_and_own_saves_are_not_read(start, path, photos, monkeypatch):
    camera = start(print)
    before = path.read_bytes()
    camera.enroll("species 2", photos[2, :2])
    camera.save_gallery(path)
    with monkeypatch.context() as patched:
        patched.setattr(module, "load_gallery", None)
        assert camera.classify(photos[2, 2]).label == "species 2"
    path.write_bytes(before)  # someone puts the backup back
    assert list(camera.gallery) == ["species 0", "species 1"]


def test_the_file_is_looked_at_only_every_so_often(start, monkeypatch, photos):
    looks = []
    monkeypatch.setattr(module, "_read_identity", lambda path: looks.append(path) or (1, 2, 3))
    monkeypatch.setattr(module, "INTERVAL", 60.0)
    camera = start(print)
    for _ in range(5):
        camera.classify(photos[0, 0])
    assert len(looks) == 1


def test_load_follows_on_request_and_warns(path, photos, opened):
    camera = hmdrn.load("default", path, threads=1, follow=True)
    os.truncate(path, 100)
    with pytest.warns(UserWarning, match="the gallery stays as it is"):
        camera.classify(photos[0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        camera.classify(photos[0, 0])
    with pytest.raises(HmdrnError, match="there is no file to follow: give a gallery"):
        hmdrn.load(follow=True)
