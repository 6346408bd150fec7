"""Frigate's events get their species: an HTTP double of its documented interface, and a real broker."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mqtt_broker import running_broker
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image

import hmdrn as sdk
from hmdrn.integrations.frigate.api import FrigateApi, FrigateError
from hmdrn.integrations.frigate.event_namer import EventNamer
from hmdrn.integrations.frigate.events import FrigateEvents, parse_event
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.classification.prediction import Match, Prediction
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.specimens.drawing import draw_specimens

JAY, WREN = 9, 22


@pytest.fixture(scope="module")
def drawn():
    return draw_specimens((JAY, WREN), 6, size=128)


@pytest.fixture(scope="module")
def birds(drawn):
    recognizer = sdk.load("default", threads=1)
    for label, photos in zip(("Jay", "Wren"), drawn, strict=True):
        recognizer.enroll(label, list(photos[:3]))
    return recognizer


def to_jpeg(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


class Frigate:
    """Answers as Frigate's HTTP interface: version, pictures, sub-label, attributes, login."""

    def __init__(self) -> None:
        self.snapshots: dict[str, bytes] = {}
        self.thumbnails: dict[str, bytes] = {}
        self.sub_labels: list[tuple[str, dict]] = []
        self.models: dict[str, list[str]] | None = None
        self.attributes: list[tuple[str, list[str]]] = []
        self.refuses_attributes = False
        self.requests: list[str] = []
        self.password = ""
        self.is_down = False
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if "/attributes" not in self.path:
                    double.requests.append(self.path)
                found = re.fullmatch(r"/api/events/([\w.-]+)/(snapshot|thumbnail)\.jpg(\?.*)?", self.path)
                if double.is_down:
                    self._answer(502)
                elif not self._is_allowed():
                    self._answer(401)
                elif self.path == "/api/version":
                    self._answer(200, b"0.16.1-test")
                elif self.path == "/api/classification/attributes?object_type=bird&group_by_model=true":
                    found = double.models is not None  # from version 0.17 on
                    self._answer(200 if found else 404, json.dumps(double.models).encode())
                elif found is None:
                    self._answer(404)
                else:
                    pictures = double.snapshots if found[2] == "snapshot" else double.thumbnails
                    picture = pictures.get(found[1])
                    self._answer(404 if picture is None else 200, picture or b"")

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/api/login":
                    right = body == {"user": "keeper", "password": double.password}
                    self._answer(200 if right else 401, cookie="frigate_token=abc" if right else "")
                elif not self._is_allowed():
                    self._answer(401)
                elif found := re.fullmatch(r"/api/events/([\w.-]+)/sub_label", self.path):
                    assert set(body) <= {"subLabel", "subLabelScore", "camera"}
                    assert len(body["subLabel"]) <= 100
                    assert 0 < body["subLabelScore"] <= 1 if body["subLabel"] else "subLabelScore" not in body
                    double.sub_labels.append((found[1], body))
                    self._answer(200, b'{"success": true}')
                elif found := re.fullmatch(r"/api/events/([\w.-]+)/attributes", self.path):
                    assert set(body) == {"attributes"}
                    if double.refuses_attributes or not double.models:
                        self._answer(400, b'{"success": false}')
                        return
                    double.attributes.append((found[1], body["attributes"]))
                    self._answer(200, b'{"success": true}')
                else:
                    self._answer(404)

            def _is_allowed(self):
                return not double.password or "frigate_token=abc" in self.headers.get("Cookie", "")

            def _answer(self, code, content=b"", cookie=""):
                self.send_response(code)
                if cookie:
                    self.send_header("Set-Cookie", f"{cookie}; Path=/; HttpOnly")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def frigate():
    double = Frigate()
    yield double
    double.server.shutdown()
    double.server.server_close()


def message(kind="update", event="1607123955.475377-mxklsc", snapshot=5.0, label="bird", **changes) -> bytes:
    """A message as the documentation of `frigate/events` shows it."""
    after = {
        "id": event,
        "camera": "front_door",
        "frame_time": 1607123961.837752,
        "snapshot": {"frame_time": 1607123955.0 + snapshot, "box": [415, 489, 528, 700], "score": 0.77},
        "label": label,
        "sub_label": None,
        "top_score": 0.958984375,
        "false_positive": False,
        "start_time": 1607123955.475377,
        "end_time": 1607123965.475377 if kind == "end" else None,
        "score": 0.7890625,
        "box": [424, 500, 536, 712],
        "current_zones": ["feeder"],
        "entered_zones": ["feeder"],
        "has_snapshot": True,
        "has_clip": False,
        "stationary": False,
        **changes,
    }
    return json.dumps({"type": kind, "before": after, "after": after}).encode()


def handle(namer, *messages):
    return [namer.handle(parse_event(payload)) for payload in messages]


EVENT = "1607123955.475377-mxklsc"


def test_an_event_gets_its_species_from_its_pictures_and_becomes_a_visit(frigate, birds, drawn, tmp_path):
    with VisitStore(tmp_path / "a.visits", create=True) as store:
        namer = EventNamer(FrigateApi(frigate.url), birds, store=store)
        frigate.snapshots[EVENT] = to_jpeg(drawn[0][0])
        first, again, _ = handle(namer, message("new"), message("update"), message("update", snapshot=7.0))
        assert (first.naming.label, first.written, again.written) == ("Jay", True, False)
        (last,) = handle(namer, message("end"))
        assert (last.pictures, last.naming.label) == (2, "Jay")
        (visit,) = store.find()
    assert [(event, body["subLabel"]) for event, body in frigate.sub_labels] == [(EVENT, "Jay")]
    assert frigate.sub_labels[0][1]["subLabelScore"] == pytest.approx(first.naming.probability, abs=1e-4)
    assert frigate.requests == [f"/api/events/{EVENT}/snapshot.jpg?crop=1&bbox=0&timestamp=0&quality=95"] * 2
    assert (visit.label, visit.source, visit.duration) == ("Jay", "frigate front_door", 10.0)
    assert visit.start.timestamp() == pytest.approx(1607123955.475, abs=0.01)
    assert 1 <= len(visit.pictures) <= 3


def test_better_pictures_may_change_the_name(frigate, birds, drawn):
    namer = EventNamer(FrigateApi(frigate.url), birds)
    for number, pixels in enumerate((drawn[0][0], drawn[1][0], drawn[1][1], drawn[1][2])):
        frigate.snapshots[EVENT] = to_jpeg(pixels)
        handle(namer, message("update", snapshot=float(number)))
    assert [body["subLabel"] for _, body in frigate.sub_labels] == ["Jay", "Wren"]


class Answers:
    """A recognizer that gives answers in turn; None is unknown."""

    def __init__(self, birds, *labels):
        self.bundle, self.gallery, self._labels = birds.bundle, birds.gallery, list(labels)

    def classify_batch(self, images):
        label = self._labels.pop(0)
        best = Match(label or "Jay", 0.9, 0.0, {})
        return [Prediction(best.label, 0.9, 0.8, label is not None, (best,))]


def test_a_name_that_does_not_hold_is_removed(frigate, birds, drawn):
    frigate.snapshots[EVENT], frigate.models = to_jpeg(drawn[0][0]), {"species": ["Jay"]}
    namer = EventNamer(FrigateApi(frigate.url), Answers(birds, "Jay", None, None, None))
    done = handle(namer, *(message(snapshot=float(number)) for number in range(4)))
    assert [named.naming.label for named in done] == ["Jay", "Jay", None, None]
    assert [named.written for named in done] == [True, False, True, False]
    assert [body for _, body in frigate.sub_labels][1:] == [{"subLabel": ""}]
    assert frigate.attributes == [(EVENT, ["Jay"]), (EVENT, [])]


def test_what_was_never_named_is_not_emptied(frigate, birds, drawn):
    frigate.snapshots[EVENT], frigate.models = to_jpeg(drawn[0][0]), {"species": ["Jay"]}
    handle(EventNamer(FrigateApi(frigate.url), Answers(birds, None)), message())
    assert frigate.sub_labels == frigate.attributes == []


@pytest.mark.parametrize(
    ("models", "refuses", "attributes", "said"),
    [
        ({"species": ["Jay", "Wren"]}, False, [(EVENT, ["Jay"]), (EVENT, ["Wren"])], []),
        (
            {"species": ["Jay"]},
            False,
            [(EVENT, ["Jay"]), (EVENT, [])],
            ["Wren is no attribute of Frigate's species"],
        ),
        ({"species": ["Jay", "Wren"], "ring": ["red"]}, False, [], ["Jay is no attribute of Frigate's ring"]),
        ({"species": ["Jay", "Wren"]}, True, [], ["answered 400"]),
        ({}, False, [], []),
        (None, False, [], []),
    ],
    ids=["known", "partly known", "another model", "refused", "no model", "earlier version"],
)
def test_names_are_attributes_where_frigate_takes_them(
    frigate, birds, drawn, models, refuses, attributes, said
):
    frigate.models, frigate.refuses_attributes = models, refuses
    frigate.snapshots[EVENT] = to_jpeg(drawn[0][0])
    messages: list[str] = []
    namer = EventNamer(FrigateApi(frigate.url), Answers(birds, "Jay", "Wren", "Wren"), report=messages.append)
    handle(namer, *(message(snapshot=float(number)) for number in range(3)))
    assert [body["subLabel"] for _, body in frigate.sub_labels] == ["Jay", "Wren"]
    assert frigate.attributes == attributes
    assert len(messages) == len(said)
    assert all(words in text for words, text in zip(said, messages, strict=True))
    assert (namer.failures, namer.is_failing) == (0, False)


def test_an_event_of_which_only_the_end_is_seen_is_named_by_its_thumbnail(frigate, birds, drawn):
    frigate.thumbnails[EVENT] = to_jpeg(drawn[1][0])
    (named,) = handle(EventNamer(FrigateApi(frigate.url), birds), message("end"))
    assert (named.naming.label, named.written) == ("Wren", True)
    assert frigate.requests == [f"/api/events/{EVENT}/thumbnail.jpg"]


def test_other_objects_and_false_positives_are_left_alone(frigate, birds, drawn):
    frigate.snapshots[EVENT] = to_jpeg(drawn[0][0])
    namer = EventNamer(FrigateApi(frigate.url), birds)
    ignored = (
        message(label="person"),
        message(false_positive=True),
        message(has_snapshot=False),
        message("end", false_positive=True),
    )
    assert handle(namer, *ignored) == [None] * 4
    assert frigate.requests == []
    only_cats = EventNamer(FrigateApi(frigate.url), birds, labels=["cat"])
    assert handle(only_cats, message()) == [None]


def test_an_outage_is_said_once_and_the_next_picture_is_named(frigate, birds, drawn):
    messages: list[str] = []
    namer = EventNamer(FrigateApi(frigate.url), birds, report=messages.append)
    frigate.is_down = True
    handle(namer, message(), message(snapshot=6.0))
    assert len(messages) == 1
    assert "answered 502" in messages[0]
    assert namer.failures == 2
    frigate.is_down = False
    frigate.snapshots[EVENT] = to_jpeg(drawn[0][0])
    assert handle(namer, message(snapshot=7.0))[0].naming.label == "Jay"


def test_a_picture_that_is_none_ends_nothing(frigate, birds):
    messages: list[str] = []
    frigate.snapshots[EVENT] = b"not a picture"
    assert handle(EventNamer(FrigateApi(frigate.url), birds, report=messages.append), message()) == [None]
    assert len(messages) == 1


def test_frigate_with_users_is_logged_into(frigate):
    frigate.password = "s3cret"
    host = frigate.url.removeprefix("http://")
    assert FrigateApi(f"http://keeper:s3cret@{host}").read_version() == "0.16.1-test"
    with pytest.raises(FrigateError, match="refuses the user") as refusal:
        FrigateApi(f"http://keeper:wrong-one@{host}").read_version()
    assert "wrong-one" not in str(refusal.value)
    with pytest.raises(FrigateError, match="answered 401"):
        FrigateApi(frigate.url).read_version()


@pytest.mark.parametrize("url", ["frigate:5000", "ftp://host", "http://", "http://host:99999"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(HmdrnError, match="is not Frigate's address"):
        FrigateApi(url)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b'{"type": "new"}', b'{"type": "new", "after": 5}', message("left"), b"[" * 99999],
    ids=range(7),
)
def test_other_messages_are_ignored(payload):
    assert parse_event(payload) is None


def test_messages_of_earlier_versions_are_understood():
    old = json.loads(message())
    del old["after"]["snapshot"]
    old["after"]["snapshot_time"] = 17.5
    event = parse_event(json.dumps(old).encode())
    assert (event.snapshot_time, event.camera, event.end) == (17.5, "front_door", None)


def test_the_command_names_what_the_broker_reports(hmdrn, frigate, birds, drawn, tmp_path):
    birds.save_gallery(tmp_path / "a.gallery")
    frigate.snapshots[EVENT] = to_jpeg(drawn[0][1])
    with running_broker() as broker:
        sender = Client(CallbackAPIVersion.VERSION2)
        sender.connect("127.0.0.1", broker.port)
        sender.loop_start()
        stop = threading.Event()

        def send():
            while not stop.wait(0.1):
                sender.publish("frigate/events", message("new"), qos=1)
                sender.publish("frigate/events", message("end"), qos=1)

        threading.Thread(target=send, daemon=True).start()
        addresses = ("--url", frigate.url, "--mqtt", f"mqtt://127.0.0.1:{broker.port}/frigate")
        files = ("--gallery", tmp_path / "a.gallery", "--visits", tmp_path / "a.visits")
        health = ("--health", 0, "--status", 60)
        done = hmdrn("frigate", *addresses, *files, *health, "--max-events", 1, "--max-seconds", 60)
        stop.set()
        sender.disconnect()
        sender.loop_stop()
    assert done.code == 0, done
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert lines[0]["schema"] == "hmdrn.frigate/1"
    assert (lines[0]["label"], lines[0]["camera"], lines[0]["written"]) == ("Jay", "front_door", True)
    assert "Frigate 0.16.1-test" in done.err
    assert "the state is at http://127.0.0.1:" in done.err
    with VisitStore(tmp_path / "a.visits") as store:
        assert {visit.label for visit in store.find()} == {"Jay"}


def receive(events, port):
    """Send an event until it arrives."""
    sender = Client(CallbackAPIVersion.VERSION2)
    sender.connect("127.0.0.1", port)
    sender.loop_start()
    received = None
    for _ in range(100):
        sender.publish("frigate/events", message("new"), qos=1).wait_for_publish(5)
        received = events.take(0.1)
        if received is not None:
            break
    sender.disconnect()
    sender.loop_stop()
    return received


def test_events_arrive_again_after_the_connection_broke():
    with running_broker() as broker:
        events = FrigateEvents(f"mqtt://127.0.0.1:{broker.port}/frigate")
        assert receive(events, broker.port).id == EVENT
        events._client.socket().shutdown(socket.SHUT_RDWR)
        assert receive(events, broker.port).id == EVENT
        events.close()
