"""Lines to a reader that may be slow, or not read at all, and must not hold up the end."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO

import click

_SLICE = 0.05
_PATIENCE = 0.2
"""Seconds for the reader of a full pipe once it is to end."""
_ROOM = min(select.PIPE_BUF, 4096) if hasattr(select, "PIPE_BUF") else 0
"""Bytes that a pipe that can be written to takes without blocking; 0 where the system does not tell."""


class Lines:
    """Writes lines to standard output or standard error, and gives up on a full pipe when it is to end.

    Args:
        stream: Which.
        ending: Whether to give up, a little later, on a reader that does not read.
    """

    def __init__(self, stream: Literal["stdout", "stderr"], ending: Callable[[], bool]) -> None:
        self._stream, self._ending = stream, ending
        self._until: float | None = None
        self.lost = 0
        """Lines that were given up, a broken one among them."""

    def __call__(self, line: str) -> None:
        """Write a line.

        Raises:
            BrokenPipeError: Whoever read has left.
        """
        descriptor = _descriptor(getattr(sys, self._stream))
        if descriptor is None:
            click.echo(line, err=self._stream == "stderr")
            return
        data = memoryview(f"{line}\n".encode())
        while data:
            # What follows half a line would be taken for the rest of it.
            if self.lost or not self.ready():
                self.lost += 1
                return
            data = data[os.write(descriptor, data[:_ROOM]) :]

    def ready(self) -> bool:
        """Wait until there is room for some more, or it is given up; returns whether there is."""
        descriptor = _descriptor(getattr(sys, self._stream))
        while descriptor is not None and not select.select([], [descriptor], [], _SLICE)[1]:
            if self._until is None and self._ending():
                self._until = time.monotonic() + _PATIENCE
            if self._until is not None and time.monotonic() >= self._until:
                return False
        return True


def _descriptor(stream: TextIO) -> int | None:
    """What a stream writes to, flushed; None where that is no descriptor, or cannot be waited for."""
    try:
        stream.flush()
        return stream.fileno() if _ROOM else None
    except io.UnsupportedOperation:
        return None
