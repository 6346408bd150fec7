"""`hmdrn watch` as a process: signals, a camera that is killed, a pipe of boxes, memory."""

from __future__ import annotations

import array
import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

SECOND = 1.0
"""Within which a stop has to be done, by a process that has been up for a while."""


class Watching:
    """A running `hmdrn watch`, with its lines as they come."""

    def __init__(self, *arguments: object, stdin: int | None = subprocess.DEVNULL) -> None:
        code = "import sys; from hmdrn._entry_points import main; sys.argv[0] = 'hmdrn'; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "watch", "default", "--threads", "1", *map(str, arguments)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: queue.Queue[dict] = queue.Queue()
        self.told: list[str] = []
        self._readers = [threading.Thread(target=self._out), threading.Thread(target=self._err)]
        for reader in self._readers:
            reader.start()

    def _out(self) -> None:
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def _err(self) -> None:
        self.told += self.process.stderr.readlines()

    def wait_for(self, seconds: float = 60.0, **entries: object) -> dict:
        """The next event with some entries."""
        until = time.monotonic() + seconds
        while True:
            event = self.events.get(timeout=max(0.01, until - time.monotonic()))
            if all(event.get(name) == value for name, value in entries.items()):
                return event

    def end(self, number: signal.Signals) -> float:
        """Send a signal and wait for the end; returns how long that took, in seconds."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        took = time.monotonic() - began
        for reader in self._readers:
            reader.join()
        return took

    @property
    def rest(self) -> list[dict]:
        return list(self.events.queue)


@pytest.fixture
def start(site):
    started: list[Watching] = []

    def run(*arguments, source=site.film, **options):
        started.append(Watching("--gallery", site.gallery, "--source", source, *arguments, **options))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)
        for stream in (one.process.stdout, one.process.stderr, one.process.stdin):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_within_a_second_with_its_summary(start, number, code):
    watching = start("--newest", "--loop", "--json")
    watching.wait_for(event="label")
    took = watching.end(number)
    assert watching.process.returncode == code
    *_, summary = watching.rest
    assert summary["event"] == "summary"
    assert summary["classified"] > 0
    assert summary["read"] == summary["classified"] + summary["dropped"]
    assert took < SECOND
    assert watching.told == []


def test_a_signal_ends_it_while_the_boxes_are_waited_for(start):
    watching = start("--boxes", "-", "--hold", "1", stdin=subprocess.PIPE)
    watching.process.stdin.write('{"boxes": [[0, 0, 150, 150]]}\n')
    watching.process.stdin.flush()
    watching.wait_for(event="label", track=1)
    assert watching.end(signal.SIGTERM) < SECOND
    assert watching.process.returncode == 0
    assert any("1 classified" in line for line in watching.told)
    assert not any("Traceback" in line or "Fatal" in line for line in watching.told)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads open files from /proc")
def test_a_signal_ends_it_while_a_pipe_of_boxes_has_no_writer(start, site, tmp_path):
    os.mkfifo(tmp_path / "boxes")
    watching = start("--boxes", tmp_path / "boxes", "--json")
    until = time.monotonic() + 60
    while not _has_open(watching.process.pid, site.film) and time.monotonic() < until:
        time.sleep(0.02)
    assert watching.end(signal.SIGTERM) < SECOND
    assert watching.process.returncode == 0
    assert watching.rest[-1]["event"] == "summary"


def _has_open(process: int, path: Path) -> bool:
    return any(Path(os.path.realpath(one)) == path.resolve() for one in Path(f"/proc/{process}/fd").iterdir())


@pytest.mark.parametrize("shared", [False, True], ids=["stdout", "stdout and stderr"])
def test_a_signal_ends_it_when_nobody_reads_the_full_pipe_of_its_events(site, shared):
    source, sink = os.pipe()
    command = [sys.executable, "-m", "hmdrn", "watch", "default", "-g", site.gallery, "-s", site.film]
    process = subprocess.Popen(
        [*map(str, command), "--all", "--loop", "--threads", "1"],
        stdout=sink,
        stderr=sink if shared else subprocess.PIPE,
        text=True,
    )
    os.close(sink)
    before, until = -1, time.monotonic() + 60
    while (before != (now := _unread(source)) or not now) and time.monotonic() < until:
        before = now
        time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert time.monotonic() - began < SECOND
    assert shared or "classified" in told
    # What was written is whole lines, but for the last.
    text = os.read(source, 1 << 20).decode()
    assert len([json.loads(line) for line in text.splitlines()[:-1]]) > 5
    os.close(source)


def _unread(descriptor: int) -> int:
    """Bytes that wait in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def test_a_closed_standard_input_is_refused_at_once(site):
    command = f"{sys.executable} -m hmdrn watch default -g {site.gallery} -s {site.film} --boxes - <&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "cannot read boxes from standard input: it is closed" in done.stderr


def test_a_camera_that_is_killed_and_started_again_is_watched_again(start, camera, site):
    watching = start("--all", "--json", source=camera.address)
    assert watching.wait_for(event="label")["label"] in site.labels
    camera.kill()
    assert camera.address in watching.wait_for(event="source", state="lost")["message"]
    watching.wait_for(event="source", state="retrying")
    camera.start()
    watching.wait_for(event="source", state="reconnected")
    watching.wait_for(event="frame")
    assert watching.end(signal.SIGTERM) < SECOND
    assert watching.rest[-1]["reconnects"] == 1
    told = "".join(watching.told)
    assert f"{camera.address} gives no more frames" in told
    assert f"{camera.address} is back" in told


def test_a_camera_that_stalls_is_reported_and_opened_again_and_may_be_left_meanwhile(start, camera):
    watching = start("--all", "--json", "--stall-after", "0.5", source=camera.address)
    watching.wait_for(event="frame")
    camera.process.send_signal(signal.SIGSTOP)
    try:
        watching.wait_for(event="source", state="stalled")
    finally:
        camera.process.send_signal(signal.SIGCONT)
    watching.wait_for(event="source", state="reconnected")
    watching.wait_for(event="frame")
    camera.process.send_signal(signal.SIGSTOP)
    try:
        watching.wait_for(event="source", state="stalled")
        assert watching.end(signal.SIGTERM) < SECOND
    finally:
        camera.process.send_signal(signal.SIGCONT)
    assert watching.process.returncode == 0
    assert watching.rest[-1]["event"] == "summary"
    assert watching.rest[-1]["reconnects"] == 1


def test_it_ends_when_whoever_reads_its_events_has_left(site):
    command = (
        f"{sys.executable} -m hmdrn watch default -g {site.gallery} -s {site.film} --all --loop | head -n 1"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["event"] == "frame"
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_memory_stays_flat(start):
    watching = start("--loop", "--all", "--json")
    for number in range(3000):
        event = watching.wait_for(event="frame")
        if number == 1000:
            before = _resident(watching.process.pid)
    after = _resident(watching.process.pid)
    assert event["frame"] == 2999
    assert after - before < 8 * 2**20
    watching.end(signal.SIGTERM)


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
