"""The live page in a real browser."""

from __future__ import annotations

import pytest
from PIL import Image
from studio_browser import CHROMIUM, served, wait_for_picture

from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("starlette", reason="needs the extra `studio`")
pytest.importorskip("playwright", reason="needs playwright")

from hmdrn.studio.live import LiveView

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium"),
]


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
        wait_for_picture(page, page.locator("[data-live]"))
        page.close()


def test_a_hidden_page_asks_for_no_pictures_until_it_is_seen_again(studio, paused, page):
    show = """isHidden => {
      Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    picture = page.locator("[data-live]")
    with served(studio.session, view=paused) as address:
        page.goto(f"{address}/live", wait_until="domcontentloaded")
        evidence = page.locator("#live-evidence").filter(has_text="else ")
        evidence.wait_for()
        assert (evidence.text_content() or "")[0].isalpha(), "the line above says 'paused', not the name"
        page.evaluate(show, True)
        assert picture.get_attribute("src") is None
        page.evaluate(show, False)
        wait_for_picture(page, page.locator("[data-live]"))
        page.close()
