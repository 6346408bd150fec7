"""A camera that answers each GET with one picture, over real HTTP."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import hmdrn
from hmdrn.watching import reconnecting_source
from hmdrn_runtime.errors import HmdrnError, SourceError


class PictureCamera:
    """Serves a photo for each request, with what a test has set."""

    def __init__(self, photos: list[bytes]) -> None:
        self.photos, self.status, self.kind, self.tagged, self.login = photos, 200, "image/jpeg", False, ""
        self.still, self.damaged = False, False
        self.requests: list[float] = []
        self.unchanged = 0
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.answer(self)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(time.monotonic())
        number = 0 if self.still else len(self.requests)
        allowed = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and request.headers["Authorization"] != allowed:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="camera"')
            request.end_headers()
            return
        if self.tagged and request.headers["If-None-Match"] == f'"{number}"':
            self.unchanged += 1
            request.send_response(304)
            request.end_headers()
            return
        request.send_response(self.status)
        request.send_header("Content-Type", self.kind)
        if self.tagged:
            request.send_header("ETag", f'"{number}"')
        request.end_headers()
        if self.status == 200:
            photo = self.photos[number % len(self.photos)]
            request.wfile.write(
                photo[: len(photo) // 2] if self.damaged and len(self.requests) > 2 else photo
            )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def pictures(site, monkeypatch) -> Iterator[PictureCamera]:
    monkeypatch.setattr(reconnecting_source, "FIRST_DELAY", 0.05)
    camera = PictureCamera([photo.read_bytes() for photo in site.photos])
    yield camera
    camera.close()


@pytest.fixture
def follow(recognizer, pictures):
    """Watch the camera, and return the watch with its events."""

    def start(address: str = "", poll: float | None = 0.02, **settings: object) -> tuple[hmdrn.Watch, list]:
        events: list[hmdrn.SourceEvent] = []
        target = address or f"http://{pictures.host}/picture.jpg"
        watching = hmdrn.watch(
            recognizer,
            target,
            poll=poll,
            on_event=events.append,
            max_seconds=20,
            every_frame=True,
            **settings,
        )
        return watching, events

    return start


def test_each_picture_is_classified_once_and_nothing_is_reported(follow, site):
    watching, events = follow(max_frames=6)
    labels = [result.label for result in watching]
    assert set(labels) == set(site.labels)
    assert labels[:3] == labels[3:]
    assert (watching.summary.reconnects, events) == (0, [])


def test_requests_have_the_pause_that_was_asked_for(follow, pictures):
    watching, _ = follow(poll=0.1, max_frames=4)
    list(watching)
    pauses = [after - before for before, after in zip(pictures.requests, pictures.requests[1:], strict=False)]
    assert all(0.08 < pause < 2 for pause in pauses[:3]), pauses


@pytest.mark.parametrize("tagged", [True, False], ids=["ETag", "equal bytes"])
def test_an_unchanged_picture_is_not_classified_again_and_is_no_stall(follow, pictures, tagged):
    pictures.still, pictures.tagged = True, tagged
    watching, events = follow(stall_after=0.2)
    threading.Timer(1.0, watching.stop).start()
    assert len(list(watching)) == 1
    assert len(pictures.requests) > 5
    assert (pictures.unchanged > 5) == tagged
    assert events == []


def test_a_camera_that_fails_and_returns_is_lost_and_back(follow, pictures):
    watching, events = follow()
    for result in watching:
        if result.frame.index == 2:
            pictures.status = 503
            threading.Timer(0.3, lambda: setattr(pictures, "status", 200)).start()
        elif watching.summary.reconnects:
            watching.stop()
    states = [event.state for event in events]
    assert (states[0], states[-1]) == ("lost", "reconnected")
    assert set(states[1:-1]) == {"retrying"}
    assert "answers with error 503" in events[0].message
    assert watching.summary.reconnects == 1


def test_damaged_pictures_are_skipped_until_the_camera_counts_as_stalled(follow, pictures):
    pictures.damaged = True
    watching, events = follow(stall_after=0.3)
    threading.Timer(1.5, watching.stop).start()
    assert list(watching)
    assert events[0].state == "stalled"


def test_a_camera_of_single_pictures_is_noticed(follow, pictures, monkeypatch):
    from hmdrn.watching import polling

    monkeypatch.setattr(polling, "DEFAULT_SECONDS", 0.02)
    watching, events = follow(poll=None, max_frames=4)
    assert len(list(watching)) == 4
    assert events == []


def test_a_login_is_sent_and_a_wrong_one_refused_without_showing_it(follow, pictures):
    pictures.login = "keeper:s3/c@ret"
    watching, events = follow(f"http://keeper:s3%2Fc%40ret@{pictures.host}/x", max_frames=2)
    assert len(list(watching)) == 2
    assert events == []
    with pytest.raises(
        SourceError, match=r"http://\*\*\*@.* answers with error 401: check the user and"
    ) as refusal:
        list(follow(f"http://keeper:wr0ng@{pictures.host}/x")[0])
    assert "wr0ng" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("multipart/x-mixed-replace; boundary=x", 200, "serves a stream, not single pictures"),
        ("image/jpeg", 404, "answers with error 404"),
    ],
)
def test_what_is_no_camera_of_pictures_is_refused_at_first(follow, pictures, kind, status, words):
    pictures.kind, pictures.status = kind, status
    with pytest.raises(SourceError, match=words):
        list(follow()[0])


def test_a_page_is_not_a_picture(follow, pictures):
    pictures.kind, pictures.photos = "text/html", [b"<html>the camera's page</html>"]
    with pytest.raises(SourceError, match="does not serve a picture"):
        list(follow()[0])


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/x", "http://u:p4ss/w0rd@127.0.0.1:9/x", "http://[::1/x"]
)
def test_an_address_that_does_not_answer_is_refused_without_its_password(follow, address):
    with pytest.raises(SourceError, match=r"does not answer|is not a valid address") as refusal:
        list(follow(address)[0])
    assert "p4ss" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_only_an_http_address_is_polled(recognizer, site):
    for source in ("rtsp://127.0.0.1/x", site.film, 0, site.film.parent):
        with pytest.raises(SourceError, match="cannot poll"):
            hmdrn.watch(recognizer, source, poll=1)
    for poll in (0, -1, float("nan"), "3"):
        with pytest.raises(HmdrnError, match="poll"):
            hmdrn.watch(recognizer, "http://127.0.0.1/x", poll=poll)


def test_the_command_polls(hmdrn, site, pictures):
    address = f"http://{pictures.host}/x"
    arguments = ("--source", address, "--poll", 0.05, "--max-frames", 3, "--json")
    outcome = hmdrn("watch", "default", "--gallery", site.gallery, *arguments)
    assert outcome.code == 0
    assert outcome.err == ""
    *events, summary = map(json.loads, outcome.out.splitlines())
    assert {event["event"] for event in events} == {"label"}
    assert (summary["classified"], summary["reconnects"]) == (3, 0)
