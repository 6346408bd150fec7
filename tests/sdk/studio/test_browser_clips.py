"""Clips of visits in a real browser."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from studio_browser import CHROMIUM, find_faults
from visit_examples import make_clip, show_specimens

from hmdrn.visits.clip_buffer import ClipFrame
from hmdrn.visits.clip_video import encode_clip, encode_frame
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("starlette", reason="needs the extra `studio`")
pytest.importorskip("playwright", reason="needs playwright")

from hmdrn.studio.access import Access

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium"),
]
SECONDS = 3


def encode_film(specimen):
    """A clip of a specimen that moves along a wall, 320x180."""
    frames = []
    for number in range(10 * SECONDS):
        wall = np.full((180, 320, 3), 140, np.uint8)
        wall[40:136, 6 * number : 6 * number + 96] = cv2.resize(specimen, (96, 96))[..., ::-1]
        frames.append(ClipFrame(number, encode_frame(wall)))
    return encode_clip(frames)


@pytest.fixture
def store(tmp_path):
    """A diary with one visit that has a clip."""
    specimens = draw_specimens([4], 2, size=128)[0]
    film = encode_film(specimens[0])
    with VisitStore(tmp_path / "site.visits", create=True) as store:
        visit = store.save(show_specimens(specimens))
        store.save_clip(visit.id, make_clip(webm=film.webm, duration=film.duration, width=320, height=180))
        yield store


def test_a_clip_plays_and_is_sought_in(make_studio, gallery, store, serve, open_page):
    access = Access(token="secret-of-the-link")
    address = serve(make_studio(gallery, store).session, access)
    page = open_page(address, viewport={"width": 360, "height": 740})
    page.goto(f"{address}/visits?token=secret-of-the-link")
    page.get_by_text(f"Clip, {SECONDS} s").click()
    video = page.get_by_label("Clip of visit 1: unknown")
    width, card = (place.bounding_box()["width"] for place in (video, page.locator("#visit-1")))
    assert 0.7 * page.locator("main").bounding_box()["width"] < width < card
    assert find_faults(page) == []
    video.evaluate(
        "(video) => new Promise((done) => { video.addEventListener('ended', done, {once: true}); "
        "video.playbackRate = 4; video.play(); })"
    )
    size, duration = video.evaluate("(video) => [[video.videoWidth, video.videoHeight], video.duration]")
    assert (size, duration) == ([320, 180], pytest.approx(SECONDS))
    video.evaluate(
        "(video) => new Promise((done) => { video.addEventListener('seeked', done, {once: true}); "
        "video.currentTime = 1; })"
    )
    assert video.evaluate("(video) => [video.currentTime, video.ended]") == [1, False]
    store.save(show_specimens(draw_specimens([5], 1, size=128)[0], hours=1))
    page.locator("#stale").wait_for()
    assert video.is_visible(), "a page is not loaded anew while a clip is open"
