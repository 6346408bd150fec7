"""The camera of a visitor's browser, in a real browser."""

from __future__ import annotations

import re

import pytest
from studio_browser import CHROMIUM, INSECURE, drag, find_faults

pytest.importorskip("starlette", reason="needs the extra `studio`")
pytest.importorskip("playwright", reason="needs playwright")

from hmdrn.studio.access import Access

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium"),
]

_READ_LABEL = """() => {
  const area = document.getElementById("camera-area"), label = area.querySelector(".seen-name");
  return [label.innerText, area.getBoundingClientRect(), label.getBoundingClientRect()];
}"""


def test_names_are_drawn_over_the_browsers_own_picture(studio, serve, open_page):
    species = re.compile("|".join(studio.session.gallery.species))
    page = open_page(address := serve(studio.session), viewport={"width": 360, "height": 740})
    page.goto(f"{address}/classify")
    page.get_by_role("button", name="Start the camera").press("Enter")
    name = page.locator(".seen-name.species")
    name.wait_for()
    # Each frame has a new label.
    text, area, place = page.evaluate(_READ_LABEL)
    assert re.match(rf"({species.pattern}) \d+ %$", text.splitlines()[0])
    assert area["left"] <= place["left"]
    assert place["right"] <= area["right"] <= 360
    assert area["top"] <= place["top"] < (area["top"] + area["bottom"]) / 2
    page.locator("#camera-answer").filter(has_text=species).wait_for()
    page.locator("#camera-evidence").filter(has_text=re.compile(r" %, else ")).wait_for()
    page.get_by_text(re.compile(r"^\d+\.\d frames a second, \d+ ms from capture to name")).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360

    page.get_by_text("Region and subjects").press("Enter")
    drag(page, page.locator("#camera"), (0.25, 0.5), (0.75, 1.0))
    box = page.locator(".seen")
    box.wait_for()
    shares = box.evaluate(
        "box => ['left', 'top', 'width', 'height'].map(side => parseFloat(box.style[side]))"
    )
    assert shares == pytest.approx([25, 50, 50, 50], abs=2)
    page.get_by_label("Left").fill("0")
    page.locator('.seen[style*="left: 0%"]').wait_for()
    assert find_faults(page) == []
    page.get_by_role("button", name="Watch the whole picture").press("Enter")
    box.wait_for(state="detached")
    motion = page.get_by_label("Find the subjects by motion")
    motion.check()
    page.locator("#camera-answer").filter(has_text="nothing there").wait_for()  # it learns the background
    motion.uncheck()
    page.locator("#camera-answer").filter(has_text=species).wait_for()

    page.get_by_role("button", name="Pause").press("Enter")
    page.locator("#camera-answer").filter(has_text="paused").wait_for()
    assert page.locator("#camera").evaluate("video => video.paused")
    page.get_by_role("button", name="Continue").press("Enter")
    page.locator("#camera-answer").filter(has_text=species).wait_for()
    page.get_by_role("button", name="Stop the camera").press("Enter")
    page.locator("#camera-area").wait_for(state="hidden")


def test_a_camera_that_the_browser_withholds_is_explained(studio, browser, serve, open_page):
    page = open_page(address := serve(studio.session), permissions=[])
    page.goto(f"{address}/classify")
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_role("status").filter(has_text="allow it beside the address").wait_for()

    access = Access(token="secret-of-the-link")
    port = serve(studio.session, access).rpartition(":")[2]
    page = browser.new_page(permissions=["camera"])
    page.goto(f"http://{INSECURE}:{port}/classify?token={access.token}")
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_role("status").filter(has_text=re.compile("over https, only.* --certificate")).wait_for()
    page.close()
