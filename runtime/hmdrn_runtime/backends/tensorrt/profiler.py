"""How long the layers of an engine take."""

from __future__ import annotations

from typing import Any, Protocol


class LayerTimes(Protocol):
    """A profiler that keeps what it is told.

    Attributes:
        taken: Milliseconds of every execution, by layer, in the order of execution.
    """

    taken: dict[str, list[float]]


def make_profiler(trt: Any) -> LayerTimes:
    """A profiler of the module's own kind, an IProfiler."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.taken: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.taken.setdefault(layer_name, []).append(ms)

    return Profiler()
