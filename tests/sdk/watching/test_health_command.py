"""`hmdrn watch --health --status`: what supervisors see of a running command."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.request
from urllib.error import URLError

import pytest
from outcomes import assert_refused

from hmdrn.cli.health_options import HealthOptions, describe_status, start_supervision
from hmdrn.watching.status import DiaryStatus, WatchStatus


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_the_state_is_answered_and_printed_while_it_runs(hmdrn, site, port, tmp_path):
    answers = []

    def ask():
        until = time.monotonic() + 60
        while not answers and time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    values = json.load(answer)
            except URLError:
                time.sleep(0.02)
            else:
                answers.extend([values] if values["classified"] else [])

    asking = threading.Thread(target=ask)
    asking.start()
    options = ("--health", port, "--status", "0.1", "--visits", tmp_path / "a.visits", "--threads", 1)
    done = hmdrn("watch", "default", "--source", site.film, "--gallery", site.gallery, *options)
    asking.join()
    assert done.code == 0
    (health,) = answers
    assert (health["schema"], health["healthy"], health["state"]) == ("hmdrn.health/1", True, "ok")
    assert health["source"] == str(site.film)
    assert 0 < health["classified"] <= 90
    events = [json.loads(line) for line in done.out.splitlines()]
    states = [event for event in events if event["event"] == "status"]
    assert states
    assert {event["schema"] for event in states} == {"hmdrn.watch/1"}
    assert states[-1].keys() - {"event", "time"} == health.keys()
    assert states[-1]["visits"]["waiting"] == 0
    assert f"http://127.0.0.1:{port}/health" in done.err
    assert " a second" not in done.err, "the line for people is for a terminal"
    with pytest.raises(URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)


def test_an_address_that_cannot_be_used_is_refused(hmdrn, site, port):
    def watch(*options):
        return hmdrn("watch", "default", "--source", site.film, "--gallery", site.gallery, *options)

    assert_refused(watch("--health", "here"), "'here' is not an address")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert_refused(watch("--health", port), "give another HOST:PORT")


def test_a_status_is_a_line_for_people():
    diary = DiaryStatus(3, 1, 2, True, "Jay")
    status = WatchStatus("camera 0", 60, 600, 590, 10, 0, 9.87, 0.1, memory=123_400_000, diary=diary)
    assert describe_status(status, "disk full") == (
        "disk full: 590 frames named, 9.9 a second, last frame 0.1 s ago, 10 dropped, 3 visits, last Jay, "
        "2 without pictures, 1 waiting, 123 MB"
    )
    assert describe_status(WatchStatus("camera 0"), "starting") == "starting: 0 frames named, 0.0 a second"


def test_a_reader_of_the_status_that_is_gone_ends_the_command():
    stopped = threading.Event()

    def write_nowhere(event):
        raise BrokenPipeError

    with contextlib.ExitStack() as stack:
        options = HealthOptions(None, 30.0, 0.01)
        status = WatchStatus("camera 0")
        start_supervision(options, lambda: status, write_nowhere, print, stopped.set, stack)
        assert stopped.wait(10)
