"""Output for a reader that may be slow, or may not read at all, and must not delay the end."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal, TextIO

import click

from hmdrn.cli.encoding import ESCAPE, is_utf8

_POLL_SECONDS = 0.05
_PATIENCE = 0.2
"""Seconds that the reader of a full pipe gets once the command is to end."""
_CHUNK = min(select.PIPE_BUF, 4096) if hasattr(select, "PIPE_BUF") else 0
"""Bytes that a writable pipe takes without blocking; 0 where the system does not say."""


class PipeWriter:
    """Writes lines to a standard stream, and gives up on a full pipe once `is_ending()` is true.

    Lines for standard output are JSON. Lines of several threads do not mix.
    """

    def __init__(self, stream: Literal["stdout", "stderr"], is_ending: Callable[[], bool]) -> None:
        self._stream, self._is_ending = stream, is_ending
        self._deadline: float | None = None
        self._broken = False
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        """Write a line; raise BrokenPipeError if the reader has closed its end."""
        with self._lock:
            self._write(line)

    def _write(self, line: str) -> None:
        stream = getattr(sys, self._stream)
        descriptor = _descriptor(stream)
        if descriptor is None:
            click.echo(line, err=self._stream == "stderr")
            return
        encoding = "ascii" if self._stream == "stdout" and not is_utf8(stream) else stream.encoding
        data = memoryview(f"{line}\n".encode(encoding, ESCAPE))
        while data:
            # Nothing may follow half a line: it would read as its other half.
            if self._broken or not self.wait_until_writable():
                self._broken = True
                return
            data = data[os.write(descriptor, data[:_CHUNK]) :]

    def wait_until_writable(self) -> bool:
        """Wait until the pipe takes more data; return False if its reader is given up."""
        descriptor = _descriptor(getattr(sys, self._stream))
        while descriptor is not None and not select.select([], [descriptor], [], _POLL_SECONDS)[1]:
            if self._deadline is None and self._is_ending():
                self._deadline = time.monotonic() + _PATIENCE
            if self._deadline is not None and time.monotonic() >= self._deadline:
                return False
        return True


def _descriptor(stream: TextIO) -> int | None:
    """Return a flushed stream's descriptor; None if it has none, or the system cannot wait for it."""
    try:
        stream.flush()
        return stream.fileno() if _CHUNK else None
    except io.UnsupportedOperation:
        return None
