"""Films of clips: what a decoder reads from them, and what becomes of a full disk."""

from __future__ import annotations

import io
import tempfile

import cv2
import numpy as np
import pytest
from PIL import Image

from hmdrn.visits.clip_buffer import ClipFrame
from hmdrn.visits.clip_video import _open_writer, _to_webm, check_encoder, encode_clip, encode_frame
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def specimen():
    return draw_specimens([4], 1, size=96)[0][0]


def draw(specimen, place: int, noise: float = 0.0, seed: int = 0):
    """A frame, BGR, with a specimen somewhere along a gray wall."""
    wall = np.full((120, 320, 3), 128.0) + noise * np.random.default_rng(seed).normal(size=(120, 320, 1))
    wall[12:108, place : place + 96] = specimen[..., ::-1]
    return np.clip(wall, 0, 255).astype(np.uint8)


def make_frames(images, slots=None):
    slots = range(len(images)) if slots is None else slots
    return [ClipFrame(slot, encode_frame(image)) for slot, image in zip(slots, images, strict=True)]


def read(webm: bytes, path):
    """The frames of a film, and its rate, as a decoder gives them."""
    path.write_bytes(webm)
    capture, frames = cv2.VideoCapture(str(path)), []
    while (pair := capture.read())[0]:
        frames.append(pair[1])
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return np.asarray(frames, np.float64), rate


def test_a_film_shows_its_frames_at_their_time(specimen, tmp_path):
    images = [draw(specimen, place) for place in (0, 60, 120, 200)]
    video = encode_clip(make_frames(images, [100, 101, 104, 105]))
    frames, rate = read(video.webm, tmp_path / "clip.webm")
    assert (video.width, video.height, video.duration, rate) == (320, 120, 0.6, 10.0)
    assert frames.shape == (6, 120, 320, 3)
    for frame, place in zip(frames, (0, 60, 60, 60, 120, 200), strict=True):
        assert np.abs(frame - draw(specimen, place)).mean() < 5, place


def test_a_film_is_webm_by_its_head(specimen):
    webm = encode_clip(make_frames([draw(specimen, 0)])).webm
    assert webm.startswith(b"\x1aE\xdf\xa3")
    assert b"\x42\x82\x84webm\xec\x82\x00\x00" in webm[:64]
    assert b"matroska" not in webm[:64]
    assert b"V_VP8" in webm


def test_frames_have_even_sides_of_640_pixels_at_most():
    def measure(shape):
        return Image.open(io.BytesIO(encode_frame(np.zeros(shape, np.uint8)))).size

    assert measure((1080, 1920, 3)) == (640, 360)
    assert measure((1921, 1081, 3)) == (360, 640)
    assert measure((101, 77)) == (76, 100)


def test_noise_costs_few_bytes_and_movement_is_shown(specimen, tmp_path, monkeypatch):
    places = [30] * 10 + list(range(32, 52, 2))
    frames = make_frames([draw(specimen, place, 2.0, seed) for seed, place in enumerate(places)])
    webm = encode_clip(frames).webm
    shown, _ = read(webm, tmp_path / "clip.webm")
    assert np.abs(shown[9] - shown[4]).mean() < 0.5
    for number in (15, 19):
        assert np.abs(shown[number] - draw(specimen, places[number])).mean() < 5
    monkeypatch.setattr("hmdrn.visits.clip_video._NOISE", -1)
    assert len(webm) < 0.7 * len(encode_clip(frames).webm)


def test_a_camera_that_changes_its_size_keeps_that_of_the_first_frame(specimen, tmp_path):
    images = [draw(specimen, 50), cv2.resize(draw(specimen, 50), (200, 150)), draw(specimen, 50)[..., 0]]
    video = encode_clip(make_frames(images))
    assert read(video.webm, tmp_path / "clip.webm")[0].shape == (3, 120, 320, 3)


def test_nothing_is_left_in_the_temporary_folder(specimen, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    check_encoder()
    encode_clip(make_frames([draw(specimen, 0)] * 3))
    writer, stream = _open_writer(cv2, (16, 16))
    assert list(tmp_path.iterdir()) == [], "a kill while a film is written leaves nothing behind"
    writer.release()
    stream.close()
    assert capfd.readouterr() == ("", ""), "OpenCV's remarks are not for users"


def test_a_film_that_is_not_whole_is_refused(specimen):
    with pytest.raises(HmdrnError, match="not whole"):
        _to_webm(encode_clip(make_frames([draw(specimen, 0)] * 3)).webm[:-40])
    with pytest.raises(HmdrnError, match="not whole"):
        _to_webm(b"")


def test_a_missing_temporary_folder_is_said(specimen, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(HmdrnError, match="folder for temporary files"):
        check_encoder()


def test_an_opencv_without_vp8_is_said(monkeypatch):
    monkeypatch.setattr(cv2, "VideoWriter_fourcc", lambda *letters: 0x20202020)
    with pytest.raises(HmdrnError, match="cannot write clips"):
        check_encoder()
