from __future__ import annotations

import io
import time

import pytest
from PIL import Image

import hmdrn
from hmdrn.studio.access import Access
from hmdrn.studio.live import LiveView
from hmdrn.studio.server import create_app
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

pytest.importorskip("starlette", reason="needs the extra `studio`")

from starlette.testclient import TestClient


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
    opened.look()
    opened.start()
    yield opened
    opened.close()


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_names_and_picture_are_live(studio, view):
    wait_for(lambda: view.status.subjects and view.look()[0])
    status = studio.client.get("/live/status").json()
    assert status["subjects"][0]["name"] == name_species(0)
    assert Image.open(io.BytesIO(view.look()[1])).size == (128, 128)


def test_the_stream_ends_with_the_source(studio, view):
    wait_for(lambda: view.status.has_ended)
    stream = studio.client.get("/live/picture")
    assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
    assert stream.content.startswith(b"--frame\r\nContent-Type: image/jpeg")


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
    opened.look()
    opened.start()
    wait_for(lambda: opened.status.subjects and opened.look()[0])
    assert opened.status.subjects[0].state == "unknown"
    opened.close()


def test_without_a_source_the_page_says_what_to_do(studio):
    assert "--source" in studio.get("/live")
    assert studio.client.get("/live/status").status_code == 404
