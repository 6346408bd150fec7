"""Watching with a gallery that another process changes meanwhile."""

from __future__ import annotations

import PIL.Image
import pytest

import hmdrn
from hmdrn_runtime.gallery import follower


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
