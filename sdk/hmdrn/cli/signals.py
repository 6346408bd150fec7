"""Ends a command's loop cleanly when a signal asks for it, and then the process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from hmdrn.watching.opencv import READER_THREAD_NAME


def exit_process(code: int) -> int:
    """Return the exit code; or exit with it at once, if a thread hangs in a camera's driver.

    If such a thread woke up while the interpreter ends, it would abort the process: the interpreter would
    unwind it through the driver's C++, which sees an exception that nobody catches.
    """
    if any(thread.name == READER_THREAD_NAME for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    return code


class StopOnSignal:
    """Context in which Ctrl-C and SIGTERM end a loop after its current step; a second one ends it at once.

    Attributes:
        received: The first signal's number, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._stop: Callable[[], None] | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def call(self, stop: Callable[[], None]) -> None:
        """Set the function that stops the loop; it is called at once if a signal has come already."""
        self._stop = stop
        if self.received is not None:
            stop()

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        if self._stop is not None:
            self._stop()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
