"""A studio in a process of its own, with its processor time and memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.watching import Reading, read_process
from hmdrn_runtime.errors import HmdrnError

_PATIENCE = 20.0
"""Seconds in which a studio must answer."""


@dataclass(frozen=True)
class Window:
    """A time in which frames were named.

    Attributes:
        seconds: Its length.
        frames: Frames that were named.
        cpu: Processor time of the studio in seconds.
        pictures: Pictures that viewers received.
    """

    seconds: float
    frames: int
    cpu: float
    pictures: int = 0

    @property
    def rate(self) -> float:
        """Named frames a second."""
        return self.frames / self.seconds


@dataclass(frozen=True)
class StudioProcess:
    """A studio that runs.

    Attributes:
        link: Its address.
        pid: Its process.
        start: Moment of its start on the monotonic clock.
    """

    link: str
    pid: int
    start: float = field(default_factory=time.monotonic)

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.link.rpartition(":")[2])

    def get(self, path: str) -> bytes:
        """Return the answer to a GET, with patience while there are too many connections.

        Raises:
            HmdrnError: There is none.
        """
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"{self.link}{path}", timeout=_PATIENCE) as answer:
                    return bytes(answer.read())
            except OSError as error:
                if time.monotonic() > end:
                    raise HmdrnError(f"the studio does not answer: {error}") from error
                time.sleep(0.05)

    def count_frames(self) -> int:
        """Return the number of frames that were named so far."""
        return int(json.loads(self.get("/live/status"))["frames"])

    def read(self) -> Reading:
        """Return its processor time and memory so far.

        Raises:
            HmdrnError: It has ended.
        """
        reading = read_process(self.pid, self.start)
        if reading is None:
            raise HmdrnError("the studio has ended")
        return reading

    @contextmanager
    def measure(self, windows: list[Window]) -> Iterator[list[int]]:
        """Add the time in the context to some windows; yields a list to put numbers of pictures into."""
        pictures: list[int] = []
        frames, reading = self.count_frames(), self.read()
        yield pictures
        count, last = self.count_frames(), self.read()
        windows.append(
            Window(last.seconds - reading.seconds, count - frames, last.cpu - reading.cpu, sum(pictures))
        )


@contextmanager
def run_studio(module: str, *arguments: str) -> Iterator[StudioProcess]:
    """Run `hmdrn studio`, or another module with its command line, on a free port until the context ends.

    Raises:
        HmdrnError: It did not start.
    """
    command = [sys.executable, "-m", module, "studio", "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            link = re.search(r"http://\S+", line)
            if link is None:
                raise HmdrnError(f"the studio did not start: {line.strip() or 'it printed nothing'}")
            yield StudioProcess(link[0], process.pid)
        finally:
            process.terminate()
