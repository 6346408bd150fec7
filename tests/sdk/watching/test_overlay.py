"""The film that shows what was seen."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from fake_classifier import FakeClassifier, make_prediction
from films import RATE

import hmdrn
from hmdrn.watching.overlay import OverlayVideo, OverlayWindow, draw_overlay
from hmdrn_runtime.errors import HmdrnError

BOX = (40, 60, 120, 140)


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def write(path, watching):
    film = OverlayVideo(path)
    for result in watching:
        film.add(result, watching.rate)
    film.close()
    return frames_of(path)


def test_a_box_is_framed_below_its_label_and_the_rest_is_unchanged(site):
    *_, result = hmdrn.watch(FakeClassifier(), site.film, boxes=lambda frame: [BOX], max_frames=20)
    shown, plain = np.asarray(draw_overlay(result)).astype(int), np.asarray(result.frame.image).astype(int)
    changed = np.abs(shown - plain).max(axis=2) > 0
    assert changed[60, 40:120].all()
    assert changed[60:140, 40].all()
    assert changed[45:58, 42:60].any()
    assert not changed[66:134, 46:114].any()
    assert not changed[145:].any()


@pytest.mark.parametrize("label", ["Jay", "Größte Möwe 鴎", "a" * 300])
def test_any_label_can_be_drawn(site, label):
    *_, result = hmdrn.watch(FakeClassifier(make_prediction(label)), site.film, max_frames=5)
    assert draw_overlay(result).size == result.frame.image.size


@pytest.mark.parametrize("name", ["film.mp4", "film.avi"])
def test_the_film_has_every_frame_at_the_sources_rate(site, tmp_path, name):
    frames, rate = write(tmp_path / name, hmdrn.watch(FakeClassifier(), site.film))
    assert (len(frames), rate) == (3 * RATE, RATE)
    assert frames[0].shape == (160, 160, 3)


def test_a_film_of_fewer_results_lasts_as_long_as_its_source(site, tmp_path):
    boxes = lambda frame: [BOX] if frame.index % 10 == 0 else None  # noqa: E731
    watching = hmdrn.watch(FakeClassifier(), site.film, boxes=boxes)
    frames, _ = write(tmp_path / "film.mp4", watching)
    assert watching.summary.classified == 9
    assert len(frames) == 81
    same = [np.abs(a.astype(int) - b).mean() < 1 for a, b in itertools.pairwise(frames)]
    assert sum(same) >= 60


def test_an_outage_is_shortened(site, tmp_path):
    boxes = lambda frame: [BOX] if frame.index in (0, 300, 310) else None  # noqa: E731
    watching = hmdrn.watch(FakeClassifier(), site.film, boxes=boxes, loop=True, max_frames=3)
    frames, _ = write(tmp_path / "film.mp4", watching)
    assert len(frames) == 1 + 2 * RATE + 10


def test_photos_of_other_sizes_fit_into_the_first_ones_film(site, tmp_path):
    from PIL import Image

    for place, size in enumerate([(80, 60), (120, 120)]):
        Image.open(site.photos[0]).resize(size).save(tmp_path / f"{place}.png")
    frames, rate = write(tmp_path / "film.avi", hmdrn.watch(FakeClassifier(), tmp_path))
    assert (len(frames), rate) == (2, 1)
    assert {frame.shape for frame in frames} == {(60, 80, 3)}


@pytest.mark.parametrize("name", ["film.mkv", "film", "missing/film.mp4"])
def test_a_film_that_cannot_be_written_is_refused_before_the_work(tmp_path, name):
    with pytest.raises(HmdrnError, match=name):
        OverlayVideo(tmp_path / name)


def test_a_window_is_refused_without_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(HmdrnError, match="--overlay"):
        OverlayWindow()
