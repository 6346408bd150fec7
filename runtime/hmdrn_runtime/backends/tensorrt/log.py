"""What TensorRT says while it works."""

from __future__ import annotations

from typing import Any


def make_logger(trt: Any) -> Any:
    """A logger of the module's own kind that keeps what it is told.

    Returns:
        An ILogger with `lines`, all messages in order, and `errors`, those that are errors.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.lines.append(message)
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()
