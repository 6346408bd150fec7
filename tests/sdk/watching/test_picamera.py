"""A Raspberry Pi's camera, over a double of picamera2: no camera has run it yet."""

from __future__ import annotations

import sys
import types
from typing import ClassVar

import numpy as np
import pytest
from fake_classifier import FakeClassifier

import hmdrn
from hmdrn.watching.picamera import PicameraAddress
from hmdrn.watching.sources import parse_source


class FakeCamera:
    """The calls of `picamera2.Picamera2` that are used."""

    opened: ClassVar[list[FakeCamera]] = []

    def __init__(self, number):
        if number > 0:
            raise IndexError("list index out of range")
        self.number, self.calls = number, []
        FakeCamera.opened.append(self)

    def create_video_configuration(self, **settings):
        return settings

    def configure(self, configuration):
        self.configuration = configuration

    def start(self):
        self.calls.append("start")

    def capture_array(self, stream):
        assert stream == "main"
        width, height = self.configuration["main"]["size"]
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[..., 0] = 200  # blue comes first in what picamera2 calls RGB888
        return pixels

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


@pytest.fixture
def picamera2(monkeypatch):
    monkeypatch.setattr(FakeCamera, "opened", [])
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=FakeCamera))
    return FakeCamera


def test_its_frames_are_watched_in_their_colors_and_it_is_released(picamera2):
    watching = hmdrn.watch(FakeClassifier(), "picamera://0?size=64x48&rate=10", max_frames=3)
    results = list(watching)
    assert len(results) == 3
    assert results[0].frame.image.size == (64, 48)
    assert results[0].frame.image.getpixel((5, 5)) == (0, 0, 200)
    (camera,) = picamera2.opened
    assert camera.configuration["main"]["format"] == "RGB888"
    assert camera.configuration["controls"] == {"FrameRate": 10.0}
    assert camera.calls == ["start", "stop", "close"]
    assert watching.rate == 10


def test_an_address_has_a_number_a_size_and_a_rate():
    assert PicameraAddress.parse("picamera") == PicameraAddress(0, (1280, 720), 15)
    assert PicameraAddress.parse("picamera://1") == PicameraAddress(1, (1280, 720), 15)
    assert PicameraAddress.parse("picamera://?rate=5") == PicameraAddress(0, (1280, 720), 5)
    assert PicameraAddress.parse("picamera://0?size=640x480&rate=7.5") == PicameraAddress(0, (640, 480), 7.5)
    assert PicameraAddress.parse("picameras") is None
    source = parse_source("picamera")
    assert (source.kind, source.live, source.path) == ("picamera", True, None)
    for wrong in ("size=big", "rate=0", "rate=x", "zoom=2"):
        with pytest.raises(hmdrn.SourceError, match=r"write it as picamera://0\?size=1280x720&rate=15"):
            parse_source(f"picamera://0?{wrong}")


def test_a_camera_that_is_missing_is_reported_in_one_line(picamera2):
    with pytest.raises(hmdrn.SourceError, match=r"cannot open picamera://3: .*rpicam-hello --list-cameras"):
        list(hmdrn.watch(FakeClassifier(), "picamera://3"))


@pytest.mark.parametrize(
    "error",
    [
        "ValueError('numpy.dtype size changed, may indicate binary incompatibility')",
        "ImportError('numpy.core.multiarray failed to import')",
    ],
)
def test_a_picamera2_compiled_for_numpy_1_is_said_to_be_so(monkeypatch, tmp_path, error):
    (tmp_path / "picamera2.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("numpy.__version__", "2.3.1")
    with pytest.raises(hmdrn.SourceError, match=r"installed and cannot be.*NumPy 2\.3\.1: .*'numpy<2'"):
        list(hmdrn.watch(FakeClassifier(), "picamera"))


def test_without_picamera2_the_system_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(hmdrn.SourceError, match=r"python3-picamera2.*--system-site-packages"):
        list(hmdrn.watch(FakeClassifier(), "picamera"))
