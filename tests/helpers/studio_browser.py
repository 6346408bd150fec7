"""The studio served to a real browser."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
INSECURE = "studio.example"
"""A name of this machine that browsers do not know as such: pages there get no camera without https."""
OPTIONS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1",
]


@contextmanager
def served(session, access=None, view=None):
    """The address of a studio that is up."""
    from hmdrn.studio.access import Access
    from hmdrn.studio.server import create_app, run_in_thread

    with run_in_thread(create_app(session, access or Access(), view)) as address:
        yield address


def wait_for_picture(page, picture) -> None:
    for _ in range(200):
        if picture.evaluate("image => image.naturalWidth"):
            return
        page.wait_for_timeout(50)
    raise AssertionError("no picture came")


def drag(page, picture, start, end) -> None:
    """Drag over a picture from one place to another, in shares of its sides."""
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=4)
    page.mouse.up()


_LOAD_STYLES = """() => Promise.all([...document.querySelectorAll("link[rel=stylesheet]")].map((link) =>
  link.sheet || new Promise((done) => link.addEventListener("load", done))))"""


def find_faults(page, rules=()) -> list[str]:
    """Faults that axe finds on a page, each with its elements; of all its rules unless some are named."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page.evaluate(_LOAD_STYLES)  # a heading can be there before the colors are
    options = {"runOnly": list(rules)} if rules else None
    return [
        f"{fault['id']}: {node['target']}: {node['failureSummary']}"
        for fault in axe.Axe().run(page, options=options).response["violations"]
        for node in fault["nodes"]
    ]
