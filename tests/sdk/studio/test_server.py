from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from outcomes import Outcome
from PIL import Image

from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("starlette", reason="needs the extra `studio`")

from hmdrn.studio.access import Access
from hmdrn.studio.server import describe_links, run_in_thread


def test_links_have_the_token_and_the_devices_address():
    access = Access(token="abc")
    assert describe_links("0.0.0.0", 8420, access, ["192.0.2.7"]) == ["http://192.0.2.7:8420/?token=abc"]
    assert describe_links("::1", 8420, Access()) == ["http://[::1]:8420"]
    assert describe_links("10.0.0.1", 1, Access("t", secure=True)) == ["https://10.0.0.1:1/?token=t"]


@contextmanager
def started(gallery, *options):
    """A studio's process, and its link."""
    command = [sys.executable, "-m", "hmdrn", "studio", "-g", str(gallery), "--port", "0", "--threads", "1"]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process, re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_the_command_prints_its_link_and_ends_on_sigterm(gallery):
    with started(gallery) as (process, link):
        with urllib.request.urlopen(f"{link}/gallery", timeout=60) as answer:
            assert b"3 species, 9 photos" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.slow
def test_the_command_ends_quietly_while_somebody_watches(gallery, tmp_path):
    folder = tmp_path / "camera"
    folder.mkdir()
    for number, image in enumerate(draw_specimens([0], 60, size=96)[0]):
        Image.fromarray(image).save(folder / f"{number}.png")
    with started(gallery, "--source", str(folder)) as (process, link):
        with urllib.request.urlopen(f"{link}/live/picture", timeout=60) as stream:
            assert stream.read(2000).startswith(b"--frame")
            process.send_signal(signal.SIGTERM)
            assert stream.read().endswith(b"--frame\r\n")
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
def test_requests_that_the_end_breaks_off_are_not_reported(capfd):
    async def never_answer(scope, receive, send):
        await asyncio.sleep(60)

    with run_in_thread(never_answer) as address, socket.socket() as client:
        client.connect(("127.0.0.1", int(address.rpartition(":")[2])))
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert capfd.readouterr().err == ""


def test_a_missing_extra_is_one_line(hmdrn, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    outcome: Outcome = hmdrn("studio", "-g", tmp_path / "site.gallery")
    assert outcome.code == 2
    assert "extra 'studio'" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_bad_certificate_is_one_line(hmdrn, gallery, tmp_path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    for name in ("bad.pem", "missing.pem"):
        outcome = hmdrn("studio", "-g", gallery, "--port", 0, "--certificate", tmp_path / name)
        assert outcome.code == 2
        assert "cannot use the certificate" in outcome.err
        assert outcome.err.count("\n") == 1


def test_a_port_in_use_is_one_line(hmdrn, gallery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = hmdrn("studio", "-g", gallery, "--port", taken.getsockname()[1])
    assert outcome.code == 2
    assert "give another --host or --port" in outcome.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-s", "film.mp4"), "give --visits FILE too"),
        (("--visits", "a.visits"), "needs a camera or a film"),
        (("--visits", "a.visits", "-s", "."), "photos of a folder have no clips"),
    ],
)
def test_clips_need_a_diary_and_moving_pictures(hmdrn, gallery, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").touch()
    outcome = hmdrn("studio", "-g", gallery, *options, "--clips")
    assert (outcome.code, words in outcome.err) == (2, True), outcome
