"""The endpoint for supervisors, over a real socket."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from contextlib import closing
from dataclasses import replace
from urllib.error import HTTPError

import pytest

from hmdrn.watching.health_server import HealthServer, parse_address
from hmdrn.watching.status import WatchStatus
from hmdrn_runtime.errors import HmdrnError

WELL = WatchStatus("camera 0", seconds=60, read=600, classified=600, rate=9.9, frame_age=0.1)


def ask(url, method="GET"):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def test_it_answers_200_while_all_is_well_and_503_otherwise():
    status = WELL
    with closing(HealthServer("0", lambda: status)) as server:
        assert server.url.startswith("http://127.0.0.1:")
        code, body = ask(server.url)
        values = json.loads(body)
        assert (code, values["schema"], values["healthy"], values["state"]) == (
            *(200, "hmdrn.health/1"),
            *(True, "ok"),
        )
        assert (values["classified"], values["frames_per_second"]) == (600, 9.9)
        status = replace(WELL, frame_age=31)
        code, body = ask(server.url)
        assert (code, json.loads(body)["state"]) == (503, "no frames")
        assert ask(server.url, "HEAD") == (503, b"")
        assert ask(server.url + "?x=1")[0] == 503
        assert ask(server.url.replace("/health", "/"))[0] == 404
        assert ask(server.url, "POST")[0] == 501


def test_the_silence_is_that_of_the_caller():
    with closing(HealthServer("127.0.0.1:0", lambda: replace(WELL, frame_age=3), silence=2)) as server:
        assert ask(server.url)[0] == 503


def test_a_client_that_says_nothing_keeps_no_one_else_waiting():
    with closing(HealthServer("0", lambda: WELL)) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with closing(socket.create_connection(("127.0.0.1", port))):
            assert ask(server.url)[0] == 200


def test_its_port_is_free_after_it_is_closed_and_no_thread_keeps_it():
    server = HealthServer("0", lambda: WELL)
    address = server.url.split("/")[2]
    with pytest.raises(HmdrnError, match="give another HOST:PORT"):
        HealthServer(address, lambda: WELL)
    server.close()
    with closing(HealthServer(address, lambda: WELL)) as again:
        assert ask(again.url)[0] == 200
        assert all(t.daemon for t in threading.enumerate() if t.name == "hmdrn-health")


def test_addresses_are_a_port_or_a_host_and_a_port():
    assert parse_address("8321") == ("127.0.0.1", 8321)
    assert parse_address(":8321") == ("127.0.0.1", 8321)
    assert parse_address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert parse_address("[::1]:80") == ("::1", 80)
    for text in ("", "host", "host:", "host:x", "host:99999", "::1:80", "http://host:80/", "-1"):
        with pytest.raises(HmdrnError, match="is not an address"):
            parse_address(text)
