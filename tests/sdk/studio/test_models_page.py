from __future__ import annotations

import re

import pytest

import hmdrn
from hmdrn.studio.pages.models import hash_path
from hmdrn_runtime.backends.stored_profile import save_profile
from hmdrn_runtime.specimens.traits import name_species

FIRST = name_species(0)


@pytest.fixture
def studio(make_studio, gallery, conv4):
    """A studio with another network's bundle beside its gallery."""
    (gallery.parent / "other.hmdrn").symlink_to(conv4)
    return make_studio(gallery)


def switch(studio, path, way) -> str:
    studio.post("/models/switch", model=hash_path(path), way=way)
    studio.session.jobs.wait(60)
    return studio.get("/models")


def test_models_are_listed_with_their_facts(studio):
    text = studio.get("/models")
    assert "default: in use, by onnxruntime" in text
    assert re.search(r"<h2>conv4[^<]*: at hand</h2>", text)
    assert "million multiply-adds" in text
    assert "not measured yet" in text


def test_a_page_names_no_folder_of_the_device(studio, gallery):
    assert str(gallery.parent) not in studio.get("/models")


def test_what_becomes_of_the_gallery_is_said_before(studio, gallery, conv4):
    text = studio.get("/models/switch", model=hash_path(conv4))
    assert "Enroll 9 kept pictures of 3 species anew" in text
    assert "site.gallery stays as it is" in text
    assert "Begin with an empty gallery" in text


def test_a_rate_that_the_other_model_cannot_have_is_said_before(studio, conv4, monkeypatch):
    studio.post("/gallery/rate", rate="0.1")
    page = {"model": hash_path(conv4)}
    assert "No false-accept rate can be set with it" in studio.get("/models/switch", **page)
    monkeypatch.setattr("hmdrn.studio.switching.open_background", lambda bundle: "some species")
    assert "The false-accept rate of 10 % is set anew" in studio.get("/models/switch", **page)


def test_photos_without_a_picture_are_named_as_lost(make_studio, loaded, tmp_path, conv4):
    (tmp_path / "other.hmdrn").symlink_to(conv4)
    studio = make_studio(tmp_path / "new.gallery")
    studio.session.recognizer.matcher.keep_thumbnails = False
    from hmdrn_runtime.specimens.drawing import draw_specimens

    studio.session.recognizer.enroll("Plain", list(draw_specimens([0], 2, size=96)[0]))
    studio.session.recognizer.matcher.keep_thumbnails = True
    studio.session.recognizer.enroll("Kept", list(draw_specimens([1], 2, size=96)[0]))
    text = studio.get("/models/switch", model=hash_path(conv4))
    assert "2 photos without a kept picture cannot be carried over. Nothing is left of Plain." in text


def test_switching_carries_the_species_and_the_rate_and_leaves_the_file(studio, gallery, conv4):
    studio.post("/gallery/rate", rate="0.1")
    before = gallery.read_bytes()
    text = switch(studio, conv4, "carry")
    assert "is in use now, with 3 species" in text
    path = studio.session.gallery_path
    assert path.parent == gallery.parent
    assert path != gallery
    assert gallery.read_bytes() == before
    carried = hmdrn.load_gallery(path)
    assert {label: s.shots for label, s in carried.species.items()} == {name_species(s): 3 for s in range(3)}
    assert FIRST in studio.get("/gallery")
    if studio.session.recognizer.background is not None:
        assert carried.calibration["far"] == pytest.approx(0.1)


def test_switching_back_finds_the_first_gallery(studio, gallery, conv4):
    home = studio.session.recognizer.bundle.path
    switch(studio, conv4, "carry")
    studio.post("/gallery/forget", label=FIRST)
    assert "has already" in studio.get("/models/switch", model=hash_path(home))
    switch(studio, home, "keep")
    assert studio.session.gallery_path == gallery
    assert FIRST in studio.get("/gallery")


def test_an_unknown_model_is_refused(studio):
    assert "not at hand" in studio.post("/models/switch", model="../../etc", way="carry")


def test_a_broken_bundle_is_said_and_hides_no_other(studio, gallery):
    (gallery.parent / "broken.hmdrn").mkdir()
    text = studio.get("/models")
    assert "broken.hmdrn" in text
    assert "default: in use" in text


def test_a_job_shows_its_progress_on_every_page(studio):
    import threading

    go_on = threading.Event()
    studio.session.jobs.start("Waiting", "/models", lambda progress: str(go_on.wait(5)))
    try:
        assert 'aria-label="Cancel Waiting"' in studio.get("/gallery")
        assert studio.client.get("/jobs/status").json()["state"] == "running"
        go_on.set()
        studio.session.jobs.wait(5)
        assert "Waiting: True" in studio.get("/gallery")
        studio.post("/jobs/dismiss", job="1")
        assert "Waiting: True" not in studio.get("/gallery")
    finally:
        go_on.set()


def test_the_stored_speed_is_shown(studio, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    save_profile(studio.session.recognizer.bundle, "onnxruntime", {"fp32": 12.34})
    assert "12.3 ms from a camera's frame to its name" in studio.get("/models")


@pytest.mark.slow
def test_the_speed_is_measured_as_a_job(studio):
    studio.post("/models/measure", model=hash_path(studio.session.recognizer.bundle.path))
    studio.session.jobs.wait(60)
    assert re.search(r"[\d.]+ ms from a camera's frame to its name", studio.get("/models"))


@pytest.mark.slow
def test_the_self_test_gives_its_report(studio):
    studio.post("/selftest")
    studio.session.jobs.wait(200)
    text = studio.get("/selftest")
    assert "fp32 on onnxruntime" in text
    report = studio.client.get("/selftest/report")
    assert report.text.startswith("# hmdrn selftest")
    assert str(studio.session.gallery_path.parent) not in report.text


def test_a_cancelled_self_test_ends_soon(studio):
    studio.post("/selftest")
    studio.post("/jobs/cancel", job="1")
    studio.session.jobs.wait(10)
    assert studio.session.jobs.status.state == "cancelled"
