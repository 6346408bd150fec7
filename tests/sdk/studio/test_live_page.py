from __future__ import annotations

import asyncio
import contextlib
import io
import time

import pytest
from films import film
from PIL import Image

import hmdrn
from hmdrn.studio.access import Access
from hmdrn.studio.live import LiveView
from hmdrn.studio.server import create_app
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

pytest.importorskip("starlette", reason="needs the extra `studio`")

from starlette.testclient import TestClient

from hmdrn.studio.pages import live as live_page
from hmdrn.studio.pages.live import LivePage
from hmdrn.studio.requests import Notices


@pytest.fixture
def folder(tmp_path):
    """A folder of photos as a source, two of one species."""
    path = tmp_path / "camera"
    path.mkdir()
    for number, image in enumerate(draw_specimens([0], 2, size=128)[0]):
        Image.fromarray(image).save(path / f"{number}.png")
    return path


@pytest.fixture
def view(studio, folder):
    opened = LiveView(studio.session.recognizer, str(folder))
    studio.client = TestClient(create_app(studio.session, Access(), opened), base_url="http://localhost:8420")
    opened.start()
    yield opened
    opened.close()


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_names_and_picture_are_live(studio, view):
    wait_for(lambda: view.status.subjects and view.picture.look()[0])
    status = studio.client.get("/live/status").json()
    assert status["subjects"][0]["name"] == name_species(0)
    assert status["subjects"][0]["evidence"].startswith("else ")
    assert status["frames"] >= 1
    assert Image.open(io.BytesIO(view.picture.look()[1])).size == (128, 128)


def test_the_stream_ends_with_the_source(studio, view):
    wait_for(lambda: view.status.has_ended)
    stream = studio.client.get("/live/picture")
    assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
    assert stream.content.startswith(b"--frame\r\nContent-Type: image/jpeg")


def read_stream(studio, view, seconds: float, viewers: int = 1) -> list[list[bytes]]:
    """The parts that viewers get at once within some seconds."""
    page = LivePage(studio.session, view, Notices())

    async def read(parts: list[bytes]) -> None:
        async for part in page._stream_parts(view):
            parts.append(part)

    async def read_all(streams: list[list[bytes]]) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*map(read, streams)), seconds)

    streams = [[] for _ in range(viewers)]
    asyncio.run(read_all(streams))
    assert page._viewers == 0
    return streams


def test_a_paused_picture_is_sent_twice_since_browsers_show_the_last_but_one(studio, held):
    ((_, *parts),) = read_stream(studio, held, 0.6)
    assert len(parts) == 2
    assert parts[0] == parts[1]


def test_many_viewers_get_fewer_pictures_each(studio, held, monkeypatch):
    monkeypatch.setattr(live_page, "_MAX_SENT", 20.0)
    numbers = iter(range(1, 10_000))
    monkeypatch.setattr(held.picture, "look", lambda: (next(numbers), b"jpeg"))
    streams = read_stream(studio, held, 0.6, viewers=10)
    assert 10 <= sum(len(parts) - 1 for parts in streams) <= 30


def test_the_stream_ends_when_the_studio_does(studio, held):
    held.stop()
    assert studio.client.get("/live/picture").content.startswith(b"--frame\r\n")


def test_without_a_rate_the_page_says_that_strangers_are_named_too(studio, held):
    assert "Set how many strangers may pass" in studio.get("/live")


def test_pausing_holds_all_viewers(studio, view):
    assert "Continue" in studio.post("/live/pause", pause="True")
    assert view.status.is_paused
    assert "Pause" in studio.post("/live/pause", pause="False")
    wait_for(lambda: view.status.has_ended)


def test_the_last_seconds_are_enrolled(studio, view, gallery):
    wait_for(lambda: view.list_frames())
    studio.post("/live/enroll", label="Seen live")
    assert hmdrn.load_gallery(gallery).species["Seen live"].shots >= 1


def test_an_empty_gallery_shows_the_source_too(make_studio, folder, tmp_path):
    studio = make_studio(tmp_path / "new.gallery")
    opened = LiveView(studio.session.recognizer, str(folder))
    opened.start()
    wait_for(lambda: opened.status.subjects and opened.picture.look()[0])
    assert opened.status.subjects[0].state == "unknown"
    opened.close()


def test_without_a_source_the_page_says_what_to_do(studio):
    assert "--source" in studio.get("/live")
    assert studio.client.get("/live/status").status_code == 404


@pytest.fixture
def held(studio, folder):
    """A view that holds at its first picture, with a detector that finds two subjects."""
    opened = LiveView(
        studio.session.recognizer, str(folder), detector=lambda frame: [(0, 0, 40, 40), (60, 60, 128, 128)]
    )
    studio.client = TestClient(create_app(studio.session, Access(), opened), base_url="http://localhost:8420")
    opened.pause(True)
    opened.start()
    wait_for(lambda: opened.status.subjects)
    yield opened
    opened.close()


def watch_part(studio, detector: str, *box: int, **fields: str) -> str:
    sides = zip(("left", "top", "right", "bottom"), map(str, box), strict=False)
    return studio.post("/live/view", detector=detector, **dict(sides), **fields)


def test_a_region_limits_detection_and_is_drawn(studio, held):
    assert len(held.status.subjects) == 2
    assert "The region is watched" in watch_part(studio, "given", 50, 50, 100, 500)
    assert held.status.region == (50, 50, 100, 128)
    held.pause(False)
    wait_for(lambda: len(held.status.subjects) == 1)

    def is_outlined() -> bool:
        picture = Image.open(io.BytesIO(held.picture.look()[1])).convert("RGB")
        outline = [picture.getpixel((50, y)) for y in range(56, 120, 4)]
        return sum(map(sum, outline)) / len(outline) < 3 * 100

    wait_for(is_outlined)


def test_a_region_without_detector_is_named_alone(studio, held):
    watch_part(studio, "none", 0, 0, 64, 64)
    held.pause(False)
    wait_for(lambda: held.status.has_ended)
    assert len(held.status.subjects) == 1
    assert [photo.pixels.shape for photo in held.list_frames()][:1] != []


def test_the_region_is_cleared(studio, held):
    watch_part(studio, "none", 0, 0, 64, 64)
    text = watch_part(studio, "none", 0, 0, 64, 64, action="whole")
    assert "The whole picture is watched" in text
    assert held.status.region is None


@pytest.mark.parametrize(
    ("detector", "box", "message"),
    [
        ("motion", (), "photos of a folder do not move"),
        ("<b>", (), "no detector '<b>'"),
        ("none", (5, 5), "give left, top, right and bottom"),
        ("none", (500, 500, 600, 600), "lies outside the picture"),
        ("none", ("nan", 0, 9, 9), "is not finite"),
    ],
)
def test_a_bad_region_or_detector_changes_nothing(studio, held, detector, box, message):
    assert message in watch_part(studio, detector, *box)
    assert (held.status.region, held.status.detector) == (None, "given")


def test_motion_is_switched_on_before_a_film(studio, tmp_path):
    pytest.importorskip("cv2", reason="needs the extra `camera`")
    path = film(tmp_path / "film.avi", [Image.fromarray(draw_specimens([0], 1, size=96)[0][0])], 0.2, 96)
    opened = LiveView(studio.session.recognizer, str(path))
    opened.look_at(None, "motion")
    opened.start()
    wait_for(lambda: opened.status.has_ended)
    opened.close()
    assert opened.status.detector == "motion"
    assert opened.status.size == (96, 96)
    assert opened.status.subjects == ()


def test_visits_of_a_film_get_clips(studio, tmp_path):
    path = film(tmp_path / "film.mp4", [Image.fromarray(draw_specimens([0], 1)[0][0])], seconds=0.8, side=96)
    with VisitStore(tmp_path / "site.visits", create=True) as visits:
        view = LiveView(studio.session.recognizer, str(path), visits=visits, clips=1)
        view.start()
        wait_for(lambda: view.status.has_ended)
        view.close()
        (visit,) = visits.find()
    assert visit.label == name_species(0)
    assert visit.clip.width == 96
