"""What TensorRT says while it works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hmdrn_runtime.errors import BackendError


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


def started(kind: Callable[[Any], Any], log: Any) -> Any:
    """A Runtime or Builder of TensorRT's, with a log.

    Raises:
        BackendError: There is none to be had.
    """
    try:
        return kind(log)
    except TypeError as error:  # pybind's "factory function returned nullptr", which says nothing
        words = " ".join(log.errors[-1].split()) if log.errors else "it does not say why"
        raise BackendError(
            f"TensorRT could not start: {words}. Look whether the NVIDIA driver is loaded, new enough for "
            "this TensorRT, and has memory left: hmdrn doctor shows them"
        ) from error
