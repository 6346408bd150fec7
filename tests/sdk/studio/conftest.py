from __future__ import annotations

import io
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from html import unescape

import pytest
from PIL import Image
from studio_browser import CHROMIUM, OPTIONS, served

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

pytest.importorskip("starlette", reason="needs the extra `studio`")

from starlette.testclient import TestClient

from hmdrn.studio.access import Access
from hmdrn.studio.server import create_app
from hmdrn.studio.session import StudioSession


@dataclass
class Studio:
    """A studio, and a browser without scripts that is at it."""

    session: StudioSession
    client: TestClient

    def get(self, path: str, **query: str) -> str:
        """The text of a page."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return unescape(answer.text)

    def post(self, path: str, files=(), **fields: str) -> str:
        """The text of the page that a form leads to."""
        answer = self.client.post(path, data=fields, files=list(files))
        assert answer.status_code == 200, answer.text
        return unescape(answer.text)


@pytest.fixture(scope="session")
def loaded():
    return hmdrn.load("default", threads=1)


@pytest.fixture
def make_studio(loaded):
    """Make a studio of a gallery's file, which may be missing."""

    def make(gallery, visits=None, access=None) -> Studio:
        stored = hmdrn.load_gallery(gallery) if gallery.exists() else None
        recognizer = hmdrn.Recognizer(loaded.bundle, loaded.backend, stored, keep_thumbnails=True)
        session = StudioSession(recognizer, gallery, visits)
        session.patience = 60.0  # every page shows the result, however busy the machine is
        app = create_app(session, access or Access())
        return Studio(session, TestClient(app, base_url="http://localhost:8420"))

    return make


@pytest.fixture(scope="session")
def small_gallery(loaded, tmp_path_factory):
    recognizer = hmdrn.Recognizer(loaded.bundle, loaded.backend, keep_thumbnails=True)
    for number, images in enumerate(draw_specimens(range(3), 3, size=96)):
        recognizer.enroll(name_species(number), list(images))
    path = tmp_path_factory.mktemp("studio") / "site.gallery"
    recognizer.save_gallery(path)
    return path


@pytest.fixture
def gallery(small_gallery, tmp_path):
    """A test's own copy of a gallery of three species with three photos each."""
    return shutil.copy(small_gallery, tmp_path / "site.gallery")


@pytest.fixture
def studio(make_studio, gallery):
    return make_studio(gallery)


def encode_png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def encode():
    return encode_png


@pytest.fixture(scope="session")
def photos():
    """Six photos of two species as parts of a form."""
    drawn = draw_specimens(range(4, 6), 3, size=96)
    return [
        [("photos", (f"{s}-{n}.png", encode_png(image), "image/png")) for n, image in enumerate(images)]
        for s, images in enumerate(drawn)
    ]


@pytest.fixture(scope="module")
def browser():
    """Chromium with a fake camera, for the tests of a module."""
    with pytest.importorskip("playwright.sync_api").sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page in a browser session of its own, for a studio that the test serves; errors fail the test."""
    problems = []
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(40_000)  # for busy machines
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def serve():
    """Serve a studio until the pages are closed: a page that asks a server that is gone reports an error."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(served(*arguments, **options))


@pytest.fixture
def open_page(browser, serve):
    """Open a page in a browser session of its own; requests to other machines and errors fail the test."""
    contexts, problems = [], []

    def make(address: str, **options):
        context = browser.new_context(**{"permissions": ["camera"], **options})
        page = context.new_page()
        page.set_default_timeout(40_000)  # for busy machines

        def check(request):
            if not request.url.startswith((address, "blob:")):
                problems.append(request.url)

        def note(line) -> None:
            if line.type == "error":
                problems.append(f"{line.text} {line.location['url']}")

        page.on("request", check)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", note)
        contexts.append(context)
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []
