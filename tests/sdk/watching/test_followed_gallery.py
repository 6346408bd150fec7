"""Watching with a gallery that another process changes meanwhile."""

from __future__ import annotations

import os
from types import SimpleNamespace

import PIL.Image
import pytest

import hmdrn
from hmdrn_runtime.gallery import follower

INTERVAL = follower.INTERVAL


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A gallery of two species, and a folder with two photos of a third one."""
    monkeypatch.setattr(follower, "INTERVAL", 0.0)
    photos = hmdrn.draw_specimens(range(3), 3, size=84)
    birds = hmdrn.load("default", threads=1)
    for number in range(2):
        birds.enroll(f"species {number}", photos[number])
    birds.save_gallery(tmp_path / "site.gallery")
    (tmp_path / "photos").mkdir()
    for name in "ab":
        PIL.Image.fromarray(photos[2, 2]).save(tmp_path / "photos" / f"{name}.png")

    def enroll():
        birds.enroll("new", photos[2, :2])
        birds.save_gallery(tmp_path / "site.gallery")

    return tmp_path, enroll


@pytest.mark.parametrize(("options", "expected"), [({}, "new"), ({"follow_gallery": False}, "species")])
def test_a_species_that_is_enrolled_meanwhile_is_named(place, options, expected):
    folder, enroll = place
    events = []
    labels = []
    for result in hmdrn.watch(
        "default", folder / "photos", folder / "site.gallery", on_event=events.append, **options
    ):
        labels.append(result.label)
        if len(labels) == 1:
            enroll()
    assert labels[0].startswith("species")
    assert labels[1].startswith(expected)
    assert events == []


def test_a_gallery_that_breaks_meanwhile_is_an_event(place):
    folder, _ = place
    events, labels = [], []
    for result in hmdrn.watch("default", folder / "photos", folder / "site.gallery", on_event=events.append):
        labels.append(result.label)
        (folder / "site.gallery").write_bytes(b"broken")
    assert labels[0] == labels[1]
    assert [event.state for event in events] == ["gallery"]
    assert "the gallery stays as it is, as its file cannot be used" in events[0].message


def test_a_corrected_visit_names_the_next_one_from_the_next_look_on(tmp_path, monkeypatch):
    """A tenth of a second after another process has written the gallery, the next frame is named by it."""
    clock = [0.0]
    monkeypatch.setattr(follower, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    gallery, diary, folder = tmp_path / "site.gallery", tmp_path / "site.visits", tmp_path / "photos"
    photos = hmdrn.draw_specimens(range(3), 6, size=128)
    birds = hmdrn.load("default", threads=1)
    for number in range(2):
        birds.enroll(f"species {number}", photos[number])
    birds.save_gallery(gallery)
    folder.mkdir()
    # An hour apart, so that each is a visit; the last is the most like the first.
    for hour, number in enumerate((1, 3, 5, 0)):
        PIL.Image.fromarray(photos[2, number]).save(folder / f"{hour}.png")
        os.utime(folder / f"{hour}.png", (3600 * hour, 3600 * hour))
    watching = hmdrn.watch(birds, folder)
    birds.follow_gallery(gallery, pytest.fail)
    with hmdrn.VisitStore(diary, create=True) as store:
        recorder = hmdrn.VisitRecorder(store, birds, "photos", live=False)
        for result in watching:
            recorder.add(result)
            if result.frame.index == 1:  # the first visit has ended
                desk = hmdrn.load("default", gallery, threads=1)
                hmdrn.correct_visits(store, [1], "new", desk, gallery)
            elif result.frame.index == 2:
                clock[0] += INTERVAL
        recorder.close()
        labels = [visit.label for visit in store.find()]
        generations = [visit.naming.generation for visit in store.find()]
    assert INTERVAL < 1
    assert (labels[0], labels[3]) == ("new", "new")
    assert [label.startswith("species") for label in labels[1:3]] == [True, True]
    assert generations[1] == generations[2] < generations[3] == hmdrn.load_gallery(gallery).generation
