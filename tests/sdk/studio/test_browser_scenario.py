"""The whole way of a user through the studio, in a real browser that asks no other machine for anything."""

from __future__ import annotations

import re

import pytest
from PIL import Image
from studio_browser import CHROMIUM, OPTIONS, find_faults, served
from visit_examples import show_specimens

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("starlette", reason="needs the extra `studio`")
pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import sync_playwright

from hmdrn.selftest.selftest import run_selftest
from hmdrn.studio.pages import selftest as selftest_page
from hmdrn.studio.session import StudioSession
from hmdrn.visits.store import VisitStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium"),
]

SPECIES = (10, 34, 22)
STRANGER = 43
NAMES = ("Red Flyer", "White Flyer", "Brown Flyer")
SIDE = 240


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Photos of three species as files, five each; and pixels of a stranger."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number, images in enumerate(draw_specimens(SPECIES, 5, size=SIDE)):
        paths.append([folder / f"{number}-{n}.jpg" for n in range(5)])
        for path, image in zip(paths[-1], images, strict=True):
            Image.fromarray(image).save(path, quality=95)
    return paths, draw_specimens([STRANGER], 6, size=SIDE)[0]


def write_camera(folder, photos) -> str:
    """A film for Chromium's fake camera: JPEGs one after the other, a second each."""
    path = folder / "camera.mjpeg"
    frames = [photo.read_bytes() for photo in photos for _ in range(20)]
    path.write_bytes(b"".join(frames))
    return str(path)


@pytest.fixture
def session(loaded, tmp_path):
    recognizer = hmdrn.Recognizer(loaded.bundle, loaded.backend, keep_thumbnails=True)
    with VisitStore(tmp_path / "site.visits", create=True) as visits:
        yield StudioSession(recognizer, tmp_path / "site.gallery", visits)


class Browser:
    """A browser with a fake camera, which keeps what the page asks other machines for."""

    def __init__(self, driver, camera: str | None) -> None:
        options = OPTIONS[:1]
        if camera is not None:
            options = [*OPTIONS, f"--use-file-for-fake-video-capture={camera}"]
        self.chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        self.problems: list[str] = []

    def open(self, address: str, **options):
        page = self.chromium.new_context(permissions=["camera"], **options).new_page()
        page.set_default_timeout(30_000)

        def check(request) -> None:
            if not request.url.startswith((address, "blob:", "data:")):
                self.problems.append(request.url)

        def note(line) -> None:
            # The page of a browser that has not seen a change yet may ask for a photo that is gone.
            is_stale = "/thumbnail?" in line.location["url"] and "404" in line.text
            if line.type == "error" and not is_stale:
                self.problems.append(f"{line.text} {line.location['url']}")

        page.on("request", check)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", note)
        return page


def status(page, text: str) -> None:
    page.get_by_role("status").filter(has_text=text).first.wait_for()


def drop(page, photos) -> None:
    """Drop files on the field, as a person does from a folder."""
    field = page.locator("input[type=file].drop").first
    with page.expect_file_chooser() as chooser:
        field.click()
    chooser.value.set_files(photos)


def test_a_user_does_everything_and_finds_it_again(session, drawn, conv4, tmp_path):
    paths, stranger = drawn
    (tmp_path / "other.hmdrn").symlink_to(conv4)
    camera = write_camera(tmp_path, paths[0][:4])
    with served(session) as address, sync_playwright() as driver:
        browser = Browser(driver, camera)
        page = browser.open(address)
        second = browser.open(address, viewport={"width": 390, "height": 844}, color_scheme="dark")
        second.goto(f"{address}/gallery")

        # A species from the camera, two from files.
        page.goto(f"{address}/classify")
        page.get_by_role("button", name="Start the camera").click()
        page.get_by_text("No species is enrolled yet.").wait_for()
        page.wait_for_timeout(3000)
        page.get_by_label("What it shows is").fill(NAMES[0])
        page.get_by_role("button", name="Enroll the last seconds").click()
        status(page, f"new frames of {NAMES[0]}")
        for name, photos in zip(NAMES[1:], paths[1:], strict=True):
            page.goto(f"{address}/enroll")
            page.get_by_label("Species", exact=True).fill(name)
            drop(page, photos[:4])
            page.get_by_role("button", name="Enroll", exact=True).click()
            status(page, f"4 new photos of {name}")
        second.get_by_role("link", name=NAMES[2]).wait_for()

        # Named live by the browser's camera.
        page.goto(f"{address}/classify")
        page.get_by_role("button", name="Start the camera").click()
        page.locator("#camera-answer").filter(has_text=NAMES[0]).wait_for()
        page.get_by_role("button", name="Stop the camera").click()

        # The rate, with its cost before it is set.
        page.goto(f"{address}/gallery")
        page.get_by_role("slider").fill("0.3")
        page.locator("#rate-cost").filter(has_text=re.compile("30 %: Of your own photos")).wait_for()
        page.get_by_role("button", name="Set this rate").click()
        status(page, "At most 30 %")

        # One visit corrected by one key, a cluster of strangers named.
        session.visits.save(show_specimens(draw_specimens([SPECIES[1]], 6, size=SIDE)[0][5:], label=NAMES[0]))
        for hours in (24, 25):
            start = 3 * (hours - 24)
            session.visits.save(show_specimens(stranger[start : start + 3], hours=hours))
        page.goto(f"{address}/visits")
        page.locator("#visit-1").focus()
        page.locator("#keys summary").wait_for()
        keys = page.locator("#keys kbd").all_inner_texts()
        names = page.locator("#keys dd").all_inner_texts()
        page.keyboard.press(dict(zip(names, keys, strict=True))[NAMES[1]])
        status(page, f"1 visit: {NAMES[1]}. 1 picture enrolled.")
        page.goto(f"{address}/inbox")
        page.get_by_role("heading", name="One new species, 2 visits?").wait_for()
        page.get_by_label("It is").fill("Newcomer")
        page.get_by_role("button", name="Name all 2").click()
        status(page, "2 visits: Newcomer")

        # Why, beside the enrolled photos.
        page.goto(f"{address}/visits")
        page.locator("#visit-1").get_by_role("link", name="Why this name?").click()
        page.get_by_role("heading", name=re.compile("that weigh most")).wait_for()

        # A gallery merged, and undone.
        other = hmdrn.Recognizer(session.recognizer.bundle, session.recognizer.backend)
        other.enroll("From elsewhere", [paths[0][0]])
        other.save_gallery(tmp_path / "elsewhere.gallery")
        page.goto(f"{address}/gallery")
        page.get_by_label("Gallery of another device").set_input_files(tmp_path / "elsewhere.gallery")
        page.get_by_role("button", name="Merge it in").click()
        status(page, "1 new species")
        page.get_by_role("button", name=re.compile("^Undo: merged")).click()
        status(page, "Undone: merged")
        assert page.get_by_role("link", name="From elsewhere").count() == 0

        # Another model, with the species.
        page.goto(f"{address}/models")
        page.get_by_role("link", name=re.compile("^Use conv4")).click()
        assert find_faults(page) == []
        page.get_by_label(re.compile("Enroll .* kept pictures of 4 species anew")).check()
        page.get_by_role("button", name=re.compile("^Use conv4")).click()
        page.get_by_text("is in use now, with 4 species").wait_for()

        # Everything is there again, in both browsers.
        for shown in (page, second):
            shown.goto(f"{address}/gallery")
            shown.reload()
            for name in (*NAMES, "Newcomer"):
                shown.get_by_role("link", name=name, exact=True).wait_for()
            shown.goto(f"{address}/visits")
            shown.get_by_text("3 visits.").wait_for()
            assert shown.locator("li[data-visit] .name").all_inner_texts() == ["Newcomer"] * 2 + [NAMES[1]]
        assert browser.problems == []
        browser.chromium.close()
    first = hmdrn.load_gallery(tmp_path / "site.gallery")
    assert set(first.species) == {*NAMES, "Newcomer"}
    carried = hmdrn.load_gallery(session.gallery_path)
    assert {label: s.shots for label, s in carried.species.items()} == {
        label: s.shots for label, s in first.species.items()
    }


def test_long_work_shows_progress_and_is_cancelled(session, drawn, tmp_path, monkeypatch):
    paths, _ = drawn

    def repeat_until_cancelled(*arguments, run, **options):
        # A quick machine would be done before the page has been examined.
        result = None
        while result is None or not run.keywords["is_cancelled"]():
            result = run_selftest(*arguments, run=run, **options)
        return result

    monkeypatch.setattr(selftest_page, "run_selftest", repeat_until_cancelled)
    with served(session) as address, sync_playwright() as driver:
        browser = Browser(driver, write_camera(tmp_path, [paths[0][4]]))
        page = browser.open(address)
        page.goto(f"{address}/selftest")
        page.get_by_role("button", name="Run the self-test").click()
        page.get_by_role("progressbar", name="Self-test").wait_for()
        assert find_faults(page) == []
        page.goto(f"{address}/models")
        page.get_by_role("button", name="Cancel Self-test").click()
        status(page, "Self-test: cancelled")
        page.get_by_role("button", name="Close Self-test").click()
        page.locator(".job").wait_for(state="detached")
        assert browser.problems == []
        browser.chromium.close()


def test_a_missing_camera_is_said_with_what_to_do(session):
    with served(session) as address, sync_playwright() as driver:
        browser = Browser(driver, None)
        page = browser.open(address)
        page.goto(f"{address}/classify")
        page.get_by_role("button", name="Start the camera").click()
        status(page, "There is no camera here: connect one")
        browser.chromium.close()
