"""Notifications through Apprise, to an HTTP server that takes what it sends."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from visit_examples import make_visit

from hmdrn.integrations.notifications import Notifier, describe
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.specimens.traits import name_species


@pytest.fixture
def store(tmp_path):
    with VisitStore(tmp_path / "a.visits", create=True) as opened:
        yield opened


@pytest.fixture
def server():
    received: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            """Stay silent."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running.server_port, received
    running.shutdown()
    running.server_close()


def test_a_visit_is_sent_with_its_picture_once_in_a_while(store, server):
    port, received = server
    notifier = Notifier([f"json://127.0.0.1:{port}"], store)
    first = store.save(make_visit(0))
    notifier.publish(first)
    notifier.publish(store.save(make_visit(1)))
    notifier.publish(store.save(make_visit(2, None)))
    notifier.close()
    assert [message["title"] for message in received] == ["Jay", "unknown"]
    assert received[0]["message"] == describe(first)
    (attachment,) = received[0]["attachments"]
    assert base64.b64decode(attachment["base64"]) == store.read_picture(first.pictures[0].id)
    assert "90 %, camera 0" in received[0]["message"]
    assert "most like Jay" in received[1]["message"]


def test_the_command_sends_the_picture_of_a_visit(hmdrn, specimens, gallery, server, tmp_path):
    port, received = server
    inputs = ("watch", "default", "-s", specimens / name_species(0), "-g", gallery, "--max-frames", 1)
    done = hmdrn(*inputs, "--visits", tmp_path / "a.visits", "--notify", f"json://127.0.0.1:{port}")
    assert done.code == 0, done
    assert [message["title"] for message in received] == [name_species(0)]
    assert received[0]["attachments"]


def test_a_failure_is_said_once_and_ends_nothing(store):
    messages: list[str] = []
    notifier = Notifier(["json://127.0.0.1:9"], store, 0.0, messages.append)
    for _ in range(2):
        notifier.publish(store.save(make_visit()))
    notifier.close()
    assert len(messages) == 1
    assert "not sent" in messages[0]


@pytest.mark.parametrize("rest", ["keeper:secret@host", "secret/123", "123/secret", "host/?to=secret"])
def test_an_unknown_address_is_refused_without_its_password_or_token(store, rest):
    with pytest.raises(HmdrnError, match=r"^cannot notify 'nothing://\*\*\*': give"):
        Notifier([f"nothing://{rest}"], store)
