"""Ending a command's loop cleanly when a signal asks for it, and the process after it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from hmdrn.watching import READING


def leave(code: int) -> int:
    """Hand back the exit code; or end the process with it at once, where a thread hangs in a camera's driver.

    Such a thread that wakes up while the interpreter ends would abort the process: the interpreter unwinds
    it through the driver's C++, which takes that for an exception that nobody catches.
    """
    if any(thread.name == READING for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    return code


class Stop:
    """Makes Ctrl-C and SIGTERM end a loop after the step in work; the second of them ends it at once.

    `asked` is the signal that came first, or None.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._end: Callable[[], None] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def ends(self, end: Callable[[], None]) -> None:
        """How to end the loop; done at once if a signal has come already."""
        self._end = end
        if self.asked is not None:
            end()

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for one in (signal.SIGINT, signal.SIGTERM):
                self._before[one] = signal.signal(one, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._restore()
        if self._end is not None:
            self._end()

    def _restore(self) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
