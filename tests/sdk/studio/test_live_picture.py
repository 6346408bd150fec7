from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from fake_classifier import make_prediction
from PIL import Image

from hmdrn.studio import live_picture
from hmdrn.studio.live_picture import MAX_RATE, LivePicture
from hmdrn.watching.frames import Frame
from hmdrn.watching.results import Sighting, WatchResult
from hmdrn.watching.smoothing import SmoothedLabel

BOX = (40.0, 40.0, 80.0, 80.0)


def make_result(width: int, height: int, box=BOX) -> WatchResult:
    frame = Frame(0, 0.0, 0.0, 0.0, np.full((height, width, 3), 128, np.uint8))
    label = SmoothedLabel("species", "Jay", 0.9)
    sighting = Sighting(1, box, make_prediction("Jay"), label, SmoothedLabel())
    return WatchResult(frame, (sighting,), (), 0.01)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets, in seconds."""
    now = [100.0]
    monkeypatch.setattr(live_picture.time, "monotonic", lambda: now[0])
    return now


def read_pixels(jpeg: bytes):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


def test_nothing_is_drawn_unless_somebody_looks(monkeypatch, clock):
    drawn = []
    monkeypatch.setattr(live_picture, "_draw", lambda result, *rest: drawn.append(result) or b"jpeg")
    picture, results = LivePicture(), [make_result(96, 96) for _ in range(4)]
    for result in results[:3]:
        picture.show(result, [])
    assert drawn == []
    assert [picture.look() for _ in range(5)] == [(1, b"jpeg")] * 5
    assert drawn == results[2:3]


def test_viewers_share_at_most_15_pictures_a_second(monkeypatch, clock):
    monkeypatch.setattr(live_picture, "_draw", lambda *shown: b"jpeg")
    picture = LivePicture()
    numbers = []
    for tick in range(60):
        clock[0] = 100 + tick / 60
        picture.show(make_result(96, 96), [])
        numbers += [picture.look()[0] for _ in range(3)]
    assert numbers[-1] == MAX_RATE


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1920, 1080), (960, 540)), ((1280, 720), (1280, 720)), ((96, 2600), (32, 867))],
)
def test_large_frames_are_reduced_before_they_are_drawn(size, expected):
    picture = LivePicture()
    picture.show(make_result(*size), ["known"])
    assert Image.open(io.BytesIO(picture.look()[1])).size == expected


def test_frames_are_reduced_alike_without_opencv(monkeypatch, clock):
    drawn = []
    for is_there in (True, False):
        if not is_there:
            monkeypatch.setitem(sys.modules, "cv2", None)
        picture = LivePicture()
        result = make_result(1920, 1080)
        result.frame.pixels[:, 960:] = (200, 60, 20)
        picture.show(result, [])
        drawn.append(read_pixels(picture.look()[1]))
    assert drawn[0].shape == (540, 960, 3)
    assert np.abs(drawn[0] - drawn[1]).max() < 12
    assert drawn[0][300, 700] == pytest.approx([20, 60, 200], abs=8)


def test_boxes_are_where_they_are_in_the_reduced_picture():
    picture = LivePicture()
    picture.show(make_result(1600, 1200, (400, 600, 800, 1000)), [])
    pixels = read_pixels(picture.look()[1])
    changed = np.abs(pixels - 128).max(axis=2) > 30
    assert pixels.shape[:2] == (600, 800)
    assert changed[310:490, 201].all()
    assert changed[498, 210:390].all()
    assert not changed[320:480, 220:380].any()


def test_the_evidence_is_a_line_below_the_name(clock):
    picture = LivePicture()
    black = []
    for evidence in ([], ["known, else Magpie, 8 %"]):
        clock[0] += 1
        picture.show(make_result(640, 480, (40, 200, 80, 240)), evidence)
        pixels = read_pixels(picture.look()[1])
        black.append(np.flatnonzero(pixels[100:200, 42].max(axis=1) < 40).size)
    assert black[0] > 20
    assert black[1] > 1.5 * black[0]


def test_a_new_region_is_outlined_on_the_present_frame(clock):
    picture = LivePicture()
    picture.show(make_result(640, 480), [])
    before, jpeg = picture.look()
    clock[0] += 1
    picture.outline((200.0, 100.0, 600.0, 400.0))
    number, outlined = picture.look()
    assert number > before
    assert np.abs(read_pixels(outlined) - read_pixels(jpeg))[150:350, 200].min() > 60


def test_a_photo_that_is_gone_leaves_the_last_picture(clock, tmp_path):
    picture = LivePicture()
    picture.show(make_result(96, 96), [])
    shown = picture.look()
    clock[0] += 1
    picture.show(WatchResult(Frame(1, 0.0, 0.0, 0.0, tmp_path / "gone.jpg"), (), (), 0.01), [])
    assert picture.look() == shown


def test_naming_never_waits_for_a_drawing(monkeypatch):
    picture = LivePicture()
    results = [make_result(96, 96) for _ in range(2)]
    # Within the drawing, whose lock a naming thread that asked for it would wait for.
    monkeypatch.setattr(live_picture, "_draw", lambda *shown: picture.show(results[1], []) or b"jpeg")
    picture.show(results[0], [])
    assert picture.look() == (1, b"jpeg")
