"""TensorRT's messages, kept for error reports."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hmdrn_runtime.errors import BackendError

_MAX_MESSAGES = 100
"""Messages kept; a process may run for months."""
_ATTRIBUTE = "_hmdrn_logger"
_lock = threading.Lock()


class _ThreadState(threading.local):
    """The errors of a thread's current call: the first and the last; empty without one."""

    first = ""
    last = ""


@dataclass
class LogRecord:
    """Messages of one build.

    Attributes:
        lines: All messages in order.
        errors: Those that are errors.
    """

    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def get_logger(trt: Any) -> Any:
    """Return this process's logger of the module's own class; TensorRT keeps the first that it is given.

    Returns:
        An ILogger with `lines`, the last messages, and `errors`, those that are errors. `begin_call` starts a
        call in the current thread, and `describe_errors` quotes the first and the last error of that call:
        other threads may run at the same time. `record` collects all messages meanwhile, of all threads.
    """
    with _lock:
        if not hasattr(trt, _ATTRIBUTE):
            setattr(trt, _ATTRIBUTE, _make_logger(trt))
        return getattr(trt, _ATTRIBUTE)


def _make_logger(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: deque[str] = deque(maxlen=_MAX_MESSAGES)
            self.errors: deque[str] = deque(maxlen=_MAX_MESSAGES)
            self._records: list[LogRecord] = []
            self._thread = _ThreadState()

        def log(self, severity: Any, message: str) -> None:
            self.lines.append(message)
            failed = severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR)
            for record in tuple(self._records):
                record.lines.append(message)
                if failed:
                    record.errors.append(message)
            if failed:
                self.errors.append(message)
                self._thread.first = self._thread.first or message
                self._thread.last = message

        def begin_call(self) -> None:
            self._thread.first = self._thread.last = ""

        def describe_errors(self) -> str:
            # The first names the cause, the last the call that failed by it.
            errors = dict.fromkeys(" ".join(m.split()) for m in (self._thread.first, self._thread.last) if m)
            return "; then: ".join(errors) or "it does not say why"

        @contextmanager
        def record(self) -> Iterator[LogRecord]:
            record = LogRecord()
            with _lock:
                self._records.append(record)
            try:
                yield record
            finally:
                with _lock:
                    self._records = [other for other in self._records if other is not record]

    return Log()


def start_with_log(kind: Callable[[Any], Any], log: Any) -> Any:
    """Create a Runtime or Builder of TensorRT's with a log.

    Raises:
        BackendError: TensorRT cannot create it.
    """
    log.begin_call()
    try:
        return kind(log)
    except TypeError as error:  # pybind's "factory function returned nullptr", which gives no reason
        raise BackendError(
            f"TensorRT could not start: {log.describe_errors()}. Check with hmdrn doctor that the NVIDIA "
            "driver is loaded and new enough for this TensorRT, and that memory is left"
        ) from error
