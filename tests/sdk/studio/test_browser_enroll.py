"""Enrolling in a real browser: long work, large uploads, and visits."""

from __future__ import annotations

import threading

import pytest
from PIL import Image
from studio_browser import CHROMIUM, served
from visit_examples import show_specimens

import hmdrn
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("starlette", reason="needs the extra `studio`")
pytest.importorskip("playwright", reason="needs playwright")

from hmdrn.studio import uploads

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with two species' folders of three photos each."""
    root = tmp_path_factory.mktemp("site") / "site"
    drawn = draw_specimens(range(4, 6), 3, size=128)
    for name, images in zip(("Red Flyer", "White Flyer"), drawn, strict=True):
        (root / name).mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(root / name / f"{number}.png")
    return root


def say(page, text: str) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for()


def test_a_long_enrollment_shows_progress_and_is_cancelled(studio, site, page, monkeypatch):
    session, go_on, prepare = studio.session, threading.Event(), uploads.prepare_upload
    session.patience = 0.0

    def wait_and_prepare(*arguments):
        go_on.wait(60)
        return prepare(*arguments)

    monkeypatch.setattr(uploads, "prepare_upload", wait_and_prepare)
    with served(session) as address:
        page.goto(f"{address}/enroll")
        page.get_by_label("Species", exact=True).fill("Red Flyer")
        page.locator("input.drop").set_input_files(sorted((site / "Red Flyer").iterdir()))
        page.get_by_role("button", name="Enroll", exact=True).click()
        page.get_by_role("progressbar", name="Adding photos").wait_for()
        page.get_by_text("reading photos").wait_for()
        threading.Timer(1, go_on.set).start()
        page.get_by_role("button", name="Cancel Adding photos").click()
        say(page, "Adding photos: cancelled")
        assert "Red Flyer" not in session.gallery
        # The same again, to its end, which the page shows by itself.
        page.get_by_label("Species", exact=True).fill("Red Flyer")
        page.locator("input.drop").set_input_files(sorted((site / "Red Flyer").iterdir()))
        page.get_by_role("button", name="Enroll", exact=True).click()
        say(page, "3 new photos of Red Flyer")
        assert page.locator(".verdict").count() == 3
        page.close()


def test_photos_without_a_name_are_asked_for_it_and_stay_chosen(studio, site, page):
    sent: list[str] = []
    with served(studio.session) as address:
        page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
        page.goto(f"{address}/enroll")
        page.locator("input.drop").set_input_files(sorted((site / "Red Flyer").iterdir()))
        page.get_by_role("button", name="Enroll", exact=True).click()
        name = page.get_by_label("Species", exact=True)
        assert name.evaluate("field => field.validationMessage") == "Give the species a name."
        assert page.locator("#crops li").count() == 3
        assert sent == []
        name.fill("Red Flyer")
        page.get_by_role("button", name="Enroll", exact=True).click()
        say(page, "3 new photos of Red Flyer")
        page.close()


def test_a_large_folder_goes_in_several_requests_or_is_refused(studio, site, page, monkeypatch):
    monkeypatch.setattr("hmdrn.studio.pages.enroll._PART_BYTES", 20_000)
    sent: list[str] = []
    with served(studio.session) as address:
        page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
        page.goto(f"{address}/enroll")
        page.get_by_label("Or a folder").set_input_files(site)
        page.get_by_role("button", name="Enroll", exact=True).click()
        say(page, "6 new photos of Red Flyer, White Flyer")
        assert sent.count(f"{address}/enroll/part") > 1
        assert sent[-1] == f"{address}/enroll"
        sent.clear()
        monkeypatch.setattr("hmdrn.studio.pages.enroll.MAX_PHOTOS", 4)
        page.goto(f"{address}/enroll")
        page.get_by_label("Or a folder").set_input_files(site)
        page.get_by_role("button", name="Enroll", exact=True).click()
        say(page, "6 files, at most 4 at once: choose some species' folders at a time")
        assert page.get_by_role("button", name="Enroll", exact=True).is_enabled()
        assert sent == []
        page.close()


def test_visits_are_chosen_and_enrolled(make_studio, gallery, page, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    with VisitStore(tmp_path / "site.visits", create=True) as store:
        for number, pixels in enumerate(draw_specimens(range(6, 8), 2, size=128)):
            store.save(show_specimens(pixels, hours=number))
        studio = make_studio(gallery, store)
        with served(studio.session) as address:
            page.goto(f"{address}/enroll")
            page.locator("summary").filter(has_text="Choose visits").click()
            for box in page.get_by_role("checkbox").all():
                box.check()
            page.get_by_label("They show").fill("Newcomer")
            assert axe.Axe().run(page).response["violations"] == []
            page.get_by_role("button", name="Add their pictures").click()
            say(page, "4 new pictures of Newcomer")
            page.goto(f"{address}/visits")
            page.locator("#visit-1 summary").click()
            page.locator("#visit-1").get_by_label("It is").fill("Other")
            page.locator("#visit-1").get_by_role("button", name="Enroll visit 1").click()
            say(page, "2 new pictures of Other")
            assert page.locator(".verdict").count() == 2
            page.close()
        assert [store.get(number).label for number in (1, 2)] == ["Other", "Newcomer"]
    stored = hmdrn.load_gallery(gallery).species
    assert [stored[label].shots for label in ("Newcomer", "Other")] == [2, 2]
