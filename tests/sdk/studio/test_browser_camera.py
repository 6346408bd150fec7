from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_images import png_header

from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

pytest.importorskip("starlette", reason="needs the extra `studio`")

from hmdrn.studio.browser_camera import MAX_CAMERAS, BrowserCameras

FIRST = name_species(0)


@pytest.fixture(scope="module")
def frames(encode):
    """Frames of two species beside each other, 192x96 pixels."""
    left, right = (draw_specimens([number], 5, size=96)[0, 4] for number in (0, 1))
    return [encode(np.concatenate(pair, axis=1)) for pair in ((left, right), (right, left))]


def send(studio, frame, **fields):
    answer = studio.client.post("/classify/frame", data=fields, files=[("frame", ("f.png", frame))])
    return answer.status_code, answer.json()


def test_a_region_of_a_browsers_frame_is_named_with_its_box(studio, frames):
    names = []
    for frame in frames:
        code, named = send(studio, frame, region="0,0,96,96")
        assert code == 200
        (subject,) = named["subjects"]
        assert subject["box"] == [0, 0, 96, 96]
        assert named["answer"].startswith(subject["name"])
        names.append(subject["name"])
    assert names == [FIRST, name_species(1)]


def test_names_of_a_browsers_camera_are_smoothed(studio, frames):
    states = [send(studio, frames[0], camera="a", region="0,0,96,96")[1]["subjects"][0] for _ in range(3)]
    assert [subject["state"] for subject in states] == ["undecided", "undecided", "species"]
    assert send(studio, frames[0], camera="b", region="0,0,96,96")[1]["answer"] == "undecided"


def test_an_unknown_of_a_browsers_camera_is_marked(studio, encode):
    studio.session.set_rate(0.3)
    named = send(studio, encode(np.full((96, 96, 3), 127, np.uint8)))[1]
    (subject,) = named["subjects"]
    assert named["answer"] == "unknown"
    assert subject["state"] == "unknown"
    assert subject["evidence"].startswith("most like ")


def test_motion_before_a_browsers_camera_finds_its_subject(studio, encode, monkeypatch):
    pytest.importorskip("cv2", reason="needs the extra `camera`")
    clock = iter(np.arange(0, 60, 0.1))
    times = SimpleNamespace(monotonic=lambda: next(clock), time=time.time)
    monkeypatch.setattr("hmdrn.studio.browser_camera.time", times)
    empty = np.random.default_rng(0).integers(90, 130, (96, 192, 3), np.uint8)
    boxes = []
    for number in range(40):
        picture = empty.copy()
        if number > 20:
            x = 3 * (number - 20)
            picture[30:70, x : x + 40] = draw_specimens([0], 1, size=40)[0, 0]
        named = send(studio, encode(picture), camera="a", detector="motion")[1]
        boxes.append([subject["box"] for subject in named["subjects"]])
    assert not any(boxes[:20])
    (box,) = boxes[-1]
    assert box == pytest.approx([57, 30, 97, 70], abs=12)


@pytest.mark.parametrize("region", ["0,0,1", "a,b,c,d", "500,500,600,600", "0,0,inf,nan"])
def test_a_bad_region_is_refused(studio, frames, region):
    code, named = send(studio, frames[0], region=region)
    assert code == 422
    assert named["error"]


def test_a_frame_that_is_an_image_bomb_is_refused(studio):
    code, named = send(studio, png_header(60_000, 60_000), camera="a")
    assert code == 422
    assert "60000" in named["error"]


def test_the_camera_that_was_silent_for_longest_is_forgotten(studio):
    cameras = BrowserCameras(studio.session)
    first, second = cameras.find("0"), cameras.find("1")
    for key in range(2, MAX_CAMERAS):
        cameras.find(str(key))
    assert cameras.find("0") is first
    cameras.find("new")
    assert cameras.find("0") is first
    assert cameras.find("1") is not second
