"""Write the pictures of docs/studio.md: the studio's pages in a browser, with drawn specimens.

python docs/figures/studio_pages.py [FOLDER]
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from playwright.sync_api import Page, sync_playwright

import hmdrn
from hmdrn.studio.access import Access
from hmdrn.studio.live import LiveView
from hmdrn.studio.server import create_app, run_in_thread
from hmdrn.studio.session import StudioSession
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Naming, Visit, VisitPicture
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

TARGET = Path(__file__).parent
_SPECIES = (10, 34, 22, 20, 24)
_STRANGER = 43
_PHOTOS, _SIDE = 5, 200
_NOW = datetime(2026, 5, 4, 17, 40, tzinfo=timezone.utc)
_RATE = 0.3
_WIDE, _PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}

Pixels = npt.NDArray[np.uint8]


def main(folder: Path = TARGET) -> None:
    """Write the pictures."""
    folder = folder.resolve()
    drawn = draw_specimens(_SPECIES, _PHOTOS + 3, size=_SIDE)
    strangers = draw_specimens([_STRANGER], 12, size=_SIDE)[0]
    with (
        tempfile.TemporaryDirectory() as name,
        work_in(name),
        VisitStore(Path(name) / "site7.visits", create=True) as diary,
    ):
        place = Path(name)
        recognizer = hmdrn.load(keep_thumbnails=True)
        session = StudioSession(recognizer, place / "site7.gallery", diary)
        session.patience = 60.0  # however busy the machine is
        enroll(session, drawn)
        record(session, diary, drawn, strangers)
        film(place / "camera", drawn)
        view = LiveView(recognizer, "camera")
        view.start()
        try:
            with run_in_thread(create_app(session, Access(), view)) as address, sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
                take_pictures(browser, address, save_photos(place, drawn), folder)
                browser.close()
        finally:
            view.close()


def enroll(session: StudioSession, drawn: Any) -> None:
    """Enroll the species, and set the rate."""
    from hmdrn.studio.uploads import prepare_upload

    preprocessing = session.recognizer.preprocessing
    for number, images in zip(_SPECIES, drawn, strict=True):
        label = name_species(number)
        names = [f"{label.split()[0].lower()}-{n + 1}.jpg" for n in range(_PHOTOS)]
        pairs = zip(images[:_PHOTOS], names, strict=True)
        photos = [prepare_upload(encode(image), name, preprocessing) for image, name in pairs]
        session.enroll({label: photos})
    session.set_rate(_RATE)


def record(session: StudioSession, diary: VisitStore, drawn: Any, strangers: Any) -> None:
    """Write visits of three days, some of them by a stranger."""
    for number in range(14):
        pictures = [drawn[number * 3 % len(_SPECIES)][_PHOTOS + number % 3]]
        save_visit(session, diary, pictures, _NOW - timedelta(hours=4.6 * number))
    for number in range(4):
        shown = list(strangers[3 * number : 3 * number + 3])
        save_visit(session, diary, shown, _NOW - timedelta(hours=1 + 5.3 * number))


def save_visit(session: StudioSession, diary: VisitStore, pictures: list[Pixels], start: datetime) -> None:
    """Write one visit with the name that the gallery gives it."""
    (prediction, *_) = session.recognizer.classify_batch(pictures)
    label = prediction.label if prediction.known else None
    probability = prediction.probability if label else None
    naming = Naming(label, prediction.known, probability, None, prediction.label)
    shown = tuple(
        VisitPicture(("typical",), start, _SIDE, _SIDE, None, encode(picture)) for picture in pictures
    )
    diary.save(replace(Visit(start, 7.0, "camera 0", naming), pictures=shown, frames=40))


def film(folder: Path, drawn: Any) -> None:
    """Write a folder that is watched live."""
    folder.mkdir()
    PIL.Image.fromarray(drawn[0][_PHOTOS]).resize((640, 480)).save(folder / "0.jpg")


def save_photos(folder: Path, drawn: Any) -> list[Path]:
    """Write photos to drop: four of one species, one of another."""
    images = [*drawn[1][_PHOTOS:], drawn[2][_PHOTOS]]
    paths = [folder / f"new-{number}.jpg" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(encode(image))
    return paths


def take_pictures(browser: Any, address: str, photos: list[Path], folder: Path) -> None:
    """Visit the pages, and write their pictures."""
    page = browser.new_page(viewport=_WIDE)
    for name, path in {
        "live": "/live",
        "gallery": "/gallery",
        "visits": "/visits",
        "inbox": "/inbox",
        "statistics": "/visits/statistics",
        "models": "/models",
    }.items():
        page.goto(f"{address}{path}")
        save(page, folder / f"studio-{name}.png")
    page.goto(f"{address}/classify")
    page.get_by_label("Photo: choose it, take it, or drop it here").set_input_files(photos[0])
    page.get_by_role("button", name="Name it").click()
    page.get_by_role("heading", name="Where").scroll_into_view_if_needed()
    for _ in range(50):
        if page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth)"):
            break
        page.wait_for_timeout(200)
    save(page, folder / "studio-why.png")
    page.goto(f"{address}/enroll")
    page.get_by_label("Species", exact=True).fill(name_species(_SPECIES[1]))
    page.locator("input[type=file]").first.set_input_files(photos)
    page.get_by_role("button", name="Enroll", exact=True).click()
    page.get_by_role("status").filter(has_text="4 new photos of").wait_for()
    page.get_by_role("heading", name="The last enrollment").evaluate("heading => heading.scrollIntoView()")
    save(page, folder / "studio-enroll.png")
    phone = browser.new_page(viewport=_PHONE, color_scheme="dark")
    phone.goto(f"{address}/visits")
    save(phone, folder / "studio-phone.png")


def save(page: Page, path: Path) -> None:
    """Write what the page shows, in few colors: the files are small."""
    page.wait_for_timeout(400)
    image = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(128, dither=PIL.Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def work_in(folder: str) -> Iterator[None]:
    """Work in a folder: the pictures name no other."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def find_browser() -> str | None:
    """Return the path of the system's Chromium; None for that of playwright."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def encode(pixels: Pixels) -> bytes:
    """Return a picture as JPEG."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return file.getvalue()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
