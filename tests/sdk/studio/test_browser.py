"""The studio in a real browser, which must ask no other machine for anything."""

from __future__ import annotations

import re
import shutil

import pytest
from PIL import Image
from studio_browser import CHROMIUM, drag, find_faults, wait_for_picture
from visit_examples import show_specimens

import hmdrn
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import crop_box, hash_pixels
from hmdrn_runtime.images.quality import prepare_photo
from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("starlette", reason="needs the extra `studio`")
pytest.importorskip("playwright", reason="needs playwright")


from starlette.responses import HTMLResponse

from hmdrn.studio.access import Access
from hmdrn.studio.live import LiveView
from hmdrn.studio.server import create_app, run_in_thread
from hmdrn.studio.session import StudioSession
from hmdrn.visits.store import VisitStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium"),
]


@pytest.fixture
def session(loaded, tmp_path):
    recognizer = hmdrn.Recognizer(loaded.bundle, loaded.backend, keep_thumbnails=True)
    with VisitStore(tmp_path / "site.visits", create=True) as visits:
        yield StudioSession(recognizer, tmp_path / "site.gallery", visits)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Photos of three species, four each; the last of each is for naming."""
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for s, images in enumerate(draw_specimens(range(3), 4, size=160)):
        paths.append([folder / f"{s}-{n}.jpg" for n in range(4)])
        for path, image in zip(paths[-1], images, strict=True):
            Image.fromarray(image).save(path, quality=95)
    return paths


def enroll(page, address, label, photos):
    page.goto(f"{address}/enroll")
    page.get_by_label("Species", exact=True).fill(label)
    page.get_by_label("Photos: choose them, or drop them here").set_input_files(photos)
    page.get_by_role("button", name="Enroll").click()
    page.get_by_role("status").filter(has_text=f"{len(photos)} new photos of {label}").wait_for()


def test_a_new_user_enrolls_names_undoes_and_finds_everything(session, files, serve, open_page):
    address = serve(session)
    page = open_page(address)
    page.goto(address)
    assert page.url.endswith("/enroll")
    enroll(page, address, "Red Flyer", files[0][:3])
    enroll(page, address, "<script>alert(1)</script>", files[1][:3])
    page.goto(f"{address}/classify")
    page.get_by_label("Photo: choose it, take it, or drop it here").set_input_files(files[0][3])
    page.get_by_role("button", name="Name it").click()
    page.get_by_role("heading", name=re.compile("^Red Flyer, ")).wait_for()
    page.goto(f"{address}/gallery")
    page.get_by_role("link", name="<script>alert(1)</script>").wait_for()
    page.get_by_role("slider").fill("0.1")
    page.get_by_text("Of your own photos").first.wait_for()
    page.get_by_role("button", name=re.compile("^Undo: added 3 photos")).click()
    page.get_by_role("status").filter(has_text="Undone").wait_for()
    page.reload()
    assert page.get_by_role("article").count() == 1
    pictures = page.locator("article img")
    assert pictures.count() == 3
    for picture in pictures.all():
        wait_for_picture(page, picture)
    assert set(hmdrn.load_gallery(session.gallery_path).species) == {"Red Flyer"}


def test_a_photo_is_moved_by_keyboard_on_a_phone_in_the_dark(session, files, serve, open_page):
    address = serve(session)
    size = {"width": 360, "height": 740}
    page = open_page(address, viewport=size, color_scheme="dark", has_touch=True)
    enroll(page, address, "Red Flyer", files[0][:3])
    enroll(page, address, "Blue Flyer", [*files[1][:3], files[0][3]])
    page.locator("#photo-3").get_by_label("It is").fill("Red Flyer")
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="moved to Red Flyer").wait_for()
    page.goto(f"{address}/gallery")
    page.keyboard.press("Tab")
    assert page.locator(":focus").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")  # skips the navigation
    page.keyboard.press("Tab")
    assert page.locator("main :focus").count() == 1
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background))) < 200
    assert hmdrn.load_gallery(session.gallery_path).species["Red Flyer"].shots == 4


def test_axe_finds_no_accessibility_fault(session, files, serve, open_page):
    for hours, pixels in enumerate(draw_specimens([4], 3, size=128)[0]):
        session.visits.save(show_specimens(pixels[None], hours=hours))
    for s in range(2):
        session.enroll({f"Species {s}": [prepare(session, path) for path in files[s][:3]]})
    session.set_rate(0.5)
    session.jobs.start("Nothing", "/models", lambda progress: "done")
    address = serve(session)
    page = open_page(address, viewport={"width": 360, "height": 740})
    faults = {}

    def check(place: str) -> None:
        page.emulate_media(color_scheme="light")
        faults[place, "light"] = find_faults(page)
        page.emulate_media(color_scheme="dark")
        faults[place, "dark"] = find_faults(page, ["color-contrast"])
        width = page.evaluate("document.documentElement.scrollWidth")
        faults[place, "width"] = [f"{width} pixels"] if width > 360 else []

    for path in (
        "/enroll",
        "/gallery",
        "/species?label=Species 0",
        "/classify",
        "/live",
        "/visits",
        "/visits/statistics",
        "/inbox",
        "/models",
        "/selftest",
        "/why?visit=1",
    ):
        page.goto(f"{address}{path}")
        check(path)
    page.goto(f"{address}/classify")
    page.get_by_label("Photo: choose it, take it, or drop it here").set_input_files(files[0][3])
    page.get_by_role("button", name="Name it").click()
    page.get_by_role("heading", name=re.compile("^Species 0, ")).wait_for()
    check("named")
    assert {place: lines for place, lines in faults.items() if lines} == {}


_MEASURE_CONTRAST = """(button) => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(button);
  const [dark, bright] = [light(style.color), light(style.backgroundColor)].sort((a, b) => a - b);
  return style.opacity < 1 ? 0 : (bright + 0.05) / (dark + 0.05);
}"""


def test_buttons_can_be_read_in_every_state(session, files, serve, open_page):
    session.enroll({"Red Flyer": [prepare(session, path) for path in files[0][:3]]})
    page = open_page(address := serve(session))
    page.goto(f"{address}/species?label=Red Flyer")
    ratios = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name in ("Rename", "Forget Red Flyer"):
            button = page.get_by_role("button", name=name)
            for is_disabled in (False, True):
                button.evaluate("(button, value) => { button.disabled = value; }", is_disabled)
                for is_hovered in (True, False):
                    page.mouse.move(0, 0)
                    if is_hovered:
                        button.hover(force=True)
                    ratios[scheme, name, is_disabled, is_hovered] = button.evaluate(_MEASURE_CONTRAST)
    assert {state: ratio for state, ratio in ratios.items() if ratio < 4.5} == {}


def test_two_browsers_see_one_state(session, files, serve, open_page):
    address = serve(session)
    first, second = open_page(address), open_page(address)
    second.goto(f"{address}/gallery")
    enroll(first, address, "Red Flyer", files[0][:3])
    second.get_by_role("link", name="Red Flyer").wait_for()


def test_live_pictures_and_the_browsers_camera_are_named(session, files, serve, open_page, tmp_path):
    camera = tmp_path / "camera"
    camera.mkdir()
    shutil.copy(files[0][3], camera)
    for s in range(2):
        session.enroll({f"Species {s}": [prepare(session, path) for path in files[s][:3]]})
    view = LiveView(session.recognizer, str(camera))
    view.start()
    address = serve(session, view=view)
    page = open_page(address)
    page.goto(f"{address}/live")
    picture = page.locator("[data-live]")
    wait_for_picture(page, picture)
    assert picture.evaluate("image => image.naturalWidth") == 160
    page.get_by_text(re.compile("^Species 0, .* %, else Species 1, ")).wait_for()
    page.goto(f"{address}/classify")
    page.get_by_role("button", name="Start the camera").click()
    page.locator("#camera-answer").filter(has_text="Species").wait_for()
    page.get_by_role("button", name="Stop the camera").click()
    view.close()


def prepare(session, path):
    from hmdrn.studio.uploads import prepare_upload

    return prepare_upload(path.read_bytes(), path.name, session.recognizer.preprocessing)


_SEND_FORM = """(target) =>
  fetch(target, {method: "POST", mode: "no-cors", credentials: "include"}).then(() => "sent", () => "blocked")
"""
_OPEN_WEBSOCKET = """(target) => new Promise((done) => {
  const socket = new WebSocket(target.replace("http", "ws"));
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})"""


def test_another_sites_page_and_a_stranger_are_refused(session, files, browser):
    session.enroll({"Red Flyer": [prepare(session, path) for path in files[0][:3]]})
    access = Access(token="secret-of-the-link")
    app, answers = create_app(session, access), []

    async def note_answers(scope, receive, send):
        async def note(message):
            if message["type"] == "http.response.start":
                has_cookie = any(name == b"cookie" for name, _ in scope["headers"])
                answers.append((scope["method"], has_cookie, message["status"]))
            await send(message)

        await app(scope, receive, note)

    evil = HTMLResponse("<p>Another page")
    with run_in_thread(note_answers) as address, run_in_thread(evil) as other:
        page = browser.new_page()
        assert page.goto(f"{address}/gallery").status == 401
        assert page.evaluate(_OPEN_WEBSOCKET, f"{address}/live/picture") == "refused"
        assert page.goto(f"{address}/gallery?token=wrong").status == 401
        assert page.goto(f"{address}/gallery?token={access.token}").status == 200
        assert "token" not in page.url
        assert page.evaluate(_OPEN_WEBSOCKET, f"{address}/live/picture") == "refused"
        # A page of another origin, in the browser that has the session; cookies do not know ports.
        page.goto(other)
        page.evaluate(_SEND_FORM, f"{address}/gallery/undo")
        assert answers[-1] == ("POST", True, 403)
        assert page.evaluate(_OPEN_WEBSOCKET, f"{address}/live/picture") == "refused"
        answer = page.context.request.post(f"{address}/gallery/undo", headers={"origin": other})
        assert answer.status == 403
        assert ("GET", False, 403) in answers
        assert ("GET", True, 403) in answers
        page.context.close()
    assert set(session.gallery.species) == {"Red Flyer"}


def test_a_region_is_dragged_and_cleared(session, files, serve, open_page, tmp_path):
    camera = tmp_path / "camera"
    camera.mkdir()
    shutil.copy(files[0][3], camera)
    view = LiveView(session.recognizer, str(camera))
    view.start()
    page = open_page(address := serve(session, view=view), viewport={"width": 360, "height": 740})
    page.goto(f"{address}/live", wait_until="domcontentloaded")  # the picture never ends
    picture = page.locator("[data-live]")
    wait_for_picture(page, picture)
    drag(page, picture, (0.25, 0.5), (0.75, 1.0))
    page.get_by_role("status").filter(has_text="The region is watched").wait_for()
    assert view.status.region == pytest.approx((40, 80, 120, 160), abs=2)
    assert page.get_by_label("Left").input_value() == f"{view.status.region[0]:g}"
    assert find_faults(page) == []
    page.get_by_role("button", name="Watch the whole picture").click()
    page.get_by_role("status").filter(has_text="The whole picture is watched").wait_for()
    assert view.status.region is None
    view.close()


def test_photos_are_cropped_by_dragging(session, files, serve, open_page):
    page = open_page(address := serve(session))
    page.goto(f"{address}/enroll")
    page.get_by_label("Species", exact=True).fill("Red Flyer")
    page.locator("input.drop").set_input_files(files[0][:2])
    picture = page.get_by_role("img", name=f"Drag to crop {files[0][0].name}")
    wait_for_picture(page, picture)
    drag(page, picture, (0.25, 0.25), (0.75, 0.75))
    sides = [int(side) for side in page.locator("input[name=crop]").first.input_value().split(",")]
    assert sides == pytest.approx([0, 40, 40, 120, 120], abs=2)
    assert find_faults(page) == []
    page.get_by_role("button", name="Enroll", exact=True).click()
    page.get_by_role("status").filter(has_text="2 new photos of Red Flyer").wait_for()
    image = load_image(files[0][0])
    cropped = prepare_photo(crop_box(image, sides[1:]), session.recognizer.preprocessing, "cropped")
    assert hash_pixels(cropped.pixels) in session.gallery.species["Red Flyer"].digests


def test_folders_are_chosen_and_dropped(session, files, serve, open_page, tmp_path):
    for s, name in enumerate(("Red Flyer", "White Flyer")):
        (tmp_path / "site" / name).mkdir(parents=True)
        for path in files[s][:3]:
            shutil.copy(path, tmp_path / "site" / name)
    page = open_page(address := serve(session))
    page.goto(f"{address}/enroll")
    page.get_by_label("Or a folder").set_input_files(tmp_path / "site")
    page.get_by_role("button", name="Enroll", exact=True).click()
    page.get_by_role("status").filter(has_text="6 new photos of Red Flyer, White Flyer").wait_for()
    page.goto(f"{address}/classify")  # a page that asks for none of the photos that are undone
    session.undo()
    page.goto(f"{address}/enroll")
    field = page.locator("input.drop").bounding_box()
    client = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(tmp_path / "site")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"x": field["x"] + 20, "y": field["y"] + 20}
        client.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})
    page.get_by_role("status").filter(has_text="6 files in 2 folders were dropped").wait_for()
    page.get_by_role("button", name="Enroll", exact=True).click()
    page.get_by_role("status").filter(has_text="6 new photos of Red Flyer, White Flyer").wait_for()
