"""The studio served to a real browser."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@contextmanager
def served(session, access=None, view=None):
    """The address of a studio that is up."""
    from hmdrn.studio.access import Access
    from hmdrn.studio.server import create_app, run_in_thread

    with run_in_thread(create_app(session, access or Access(), view)) as address:
        yield address


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
