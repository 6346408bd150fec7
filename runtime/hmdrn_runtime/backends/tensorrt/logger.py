"""TensorRT's messages, kept for error reports."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from hmdrn_runtime.errors import BackendError


class _ThreadState(threading.local):
    """The last error of a thread's current call; empty without one."""

    error = ""


def make_logger(trt: Any, limit: int | None = None) -> Any:
    """Return a logger of the module's own class that keeps its messages.

    Args:
        trt: The module.
        limit: Number of messages of each kind to keep, the last ones; all if None.

    Returns:
        An ILogger with `lines`, all messages in order, and `errors`, those that are errors. `begin_call`
        starts a call in the current thread, and `last_error` is the last error of that call: other threads
        may run at the same time.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: deque[str] = deque(maxlen=limit)
            self.errors: deque[str] = deque(maxlen=limit)
            self._thread = _ThreadState()

        def log(self, severity: Any, message: str) -> None:
            self.lines.append(message)
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
                self._thread.error = message

        def begin_call(self) -> None:
            self._thread.error = ""

        def last_error(self) -> str:
            return " ".join(self._thread.error.split()) or "it does not say why"

    return Log()


def start_with_log(kind: Callable[[Any], Any], log: Any) -> Any:
    """Create a Runtime or Builder of TensorRT's with a log.

    Raises:
        BackendError: TensorRT cannot create it.
    """
    try:
        return kind(log)
    except TypeError as error:  # pybind's "factory function returned nullptr", which gives no reason
        raise BackendError(
            f"TensorRT could not start: {log.last_error()}. Check with hmdrn doctor that the NVIDIA driver "
            "is loaded and new enough for this TensorRT, and that memory is left"
        ) from error
