from __future__ import annotations

import io
import re

import pytest
from drawn_images import png_header
from PIL import Image

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

FIRST, SECOND = name_species(0), name_species(1)


@pytest.fixture(scope="module")
def part(encode):
    return ("photo", ("a.png", encode(draw_specimens([0], 5, size=96)[0, 4]), "image/png"))


def key_in(text: str) -> str:
    return re.search(r"/classify/photo\?photo=([\w-]+)", text)[1]


def test_a_photo_gets_its_name(studio, part):
    text = studio.post("/classify", files=[part])
    expected = studio.session.recognizer.classify(part[1][1])
    assert f"<h2>{expected.label}, " in text
    assert expected.label == FIRST


def test_the_photo_is_shown_and_explained(studio, part):
    key = key_in(studio.post("/classify", files=[part]))
    shown = studio.client.get("/classify/photo", params={"photo": key})
    assert Image.open(io.BytesIO(shown.content)).size == (96, 96)
    pytest.importorskip("matplotlib", reason="needs the extra `plots`")
    why = studio.client.get("/classify/why", params={"photo": key, "against": SECOND})
    assert Image.open(io.BytesIO(why.content)).format == "PNG"


def test_a_wrong_name_is_put_right(studio, part, gallery):
    key = key_in(studio.post("/classify", files=[part]))
    text = studio.post("/classify/correct", photo=key, label=SECOND)
    assert f"a.png is enrolled as {SECOND}" in text
    assert hmdrn.load_gallery(gallery).species[SECOND].shots == 4


def test_a_decompression_bomb_is_refused(studio):
    bomb = ("photo", ("bomb.png", png_header(60_000, 60_000), "image/png"))
    text = studio.post("/classify", files=[bomb])
    assert re.search(r'role="alert">bomb.png [^<]*60000', text)


def test_a_frame_of_a_browser_is_named(studio, part):
    answer = studio.client.post("/classify/frame", files=[part]).json()["answer"]
    assert answer.startswith(FIRST)
    bad = studio.client.post("/classify/frame", files=[("frame", ("f.jpg", b"x", "image/jpeg"))])
    assert bad.status_code == 422


def test_without_species_the_page_asks_for_one(make_studio, tmp_path):
    assert "Enroll a species first" in re.sub(
        "<[^>]+>", "", make_studio(tmp_path / "n.gallery").get("/classify")
    )


def test_a_photo_that_is_not_kept_is_not_found(studio):
    assert studio.client.get("/classify/photo", params={"photo": "unknown"}).status_code == 404


def test_models_are_listed_with_the_one_in_use(studio):
    text = studio.get("/models")
    assert "default" in text
    assert "in use, by onnxruntime" in text


def test_the_cameras_frames_are_enrolled(make_studio, tmp_path, photos):
    studio = make_studio(tmp_path / "new.gallery")
    part = [("frame", photos[0][0][1])]
    assert "No species" in studio.client.post("/classify/frame", files=part).json()["answer"]
    text = studio.post("/classify/frames", files=[("frames", file) for _, file in photos[0]], label="Jay")
    assert "new frames of Jay" in text
    assert 1 <= studio.session.gallery.species["Jay"].shots <= 3
    assert "no frame" in studio.post("/classify/frames", label="Jay")
