"""The live page in a real browser."""

from __future__ import annotations

import pytest
from PIL import Image
from studio_browser import CHROMIUM, OPTIONS, served

from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("starlette", reason="needs the extra `studio`")
pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import sync_playwright

from hmdrn.studio.live import LiveView

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium"),
]


@pytest.fixture
def page():
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = chromium.new_page()
        page.set_default_timeout(20_000)
        yield page
        chromium.close()


@pytest.fixture
def paused(studio, tmp_path):
    """A view of two photos that holds at the first one."""
    folder = tmp_path / "camera"
    folder.mkdir()
    for number, image in enumerate(draw_specimens([0], 2, size=160)[0]):
        Image.fromarray(image).save(folder / f"{number}.png")
    view = LiveView(studio.session.recognizer, str(folder))
    view.pause(True)
    view.start()
    yield view
    view.close()


def test_a_page_that_is_opened_while_paused_shows_the_picture(studio, paused, page):
    with served(studio.session, view=paused) as address:
        page.goto(f"{address}/live", wait_until="domcontentloaded")
        page.get_by_text("paused").wait_for()
        page.wait_for_function("document.querySelector('[data-live]').naturalWidth === 160")
        page.close()
