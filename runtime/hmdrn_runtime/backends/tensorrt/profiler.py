"""Timing of an engine's layers through TensorRT's IProfiler."""

from __future__ import annotations

from typing import Any


def make_profiler(trt: Any) -> Any:
    """Return an IProfiler whose `times` are milliseconds of every run by layer, in order of execution."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.setdefault(layer_name, []).append(ms)

    return Profiler()
