"""What TensorRT says while it works."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from hmdrn_runtime.errors import BackendError


def make_logger(trt: Any, most: int | None = None) -> Any:
    """A logger of the module's own kind that keeps what it is told.

    Args:
        trt: The module.
        most: How many messages of a kind to keep, the last ones; all if None.

    Returns:
        An ILogger with `lines`, all messages in order, and `errors`, those that are errors. With `begin` a
        thread begins a call, of whose errors `last_words` tells: others may run at the same time.
    """

    class OfThread(threading.local):
        def __init__(self) -> None:
            self.errors: deque[str] = deque(maxlen=most)

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: deque[str] = deque(maxlen=most)
            self.errors: deque[str] = deque(maxlen=most)
            self.of_thread = OfThread()

        def log(self, severity: Any, message: str) -> None:
            self.lines.append(message)
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
                self.of_thread.errors.append(message)

        def begin(self) -> None:
            self.of_thread.errors.clear()

        def last_words(self) -> str:
            errors = self.of_thread.errors
            return " ".join(errors[-1].split()) if errors else "it does not say why"

    return Log()


def started(kind: Callable[[Any], Any], log: Any) -> Any:
    """A Runtime or Builder of TensorRT's, with a log.

    Raises:
        BackendError: There is none to be had.
    """
    try:
        return kind(log)
    except TypeError as error:  # pybind's "factory function returned nullptr", which says nothing
        raise BackendError(
            f"TensorRT could not start: {log.last_words()}. Look whether the NVIDIA driver is loaded and new "
            "enough for this TensorRT, which hmdrn doctor tells, and whether memory is left"
        ) from error
