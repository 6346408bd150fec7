"""Optional abilities of a backend to measure itself. ONNX Runtime on the CPU has no transfers to time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from hmdrn_runtime.backends.base import GraphInputs, GraphOutputs


@dataclass(frozen=True)
class TransferTimes:
    """One run of a graph on a device with its own memory, in seconds.

    Attributes:
        to_device: Copying the inputs to the device.
        compute: Running the graph.
        to_host: Copying the outputs back.
    """

    to_device: float
    compute: float
    to_host: float


@runtime_checkable
class SupportsTransferTiming(Protocol):
    """A backend that can time its copies."""

    def run_timed(self, graph: str, inputs: GraphInputs) -> tuple[GraphOutputs, TransferTimes]:
        """Run a graph as `Backend.run` does, and time its parts."""


@dataclass(frozen=True)
class NodeTime:
    """One operator of a graph as executed: after fusion it may stand for several nodes.

    Attributes:
        name: Its name.
        operator: Its type, e.g. "Conv".
        ms: Median milliseconds of a run.
    """

    name: str
    operator: str
    ms: float


@runtime_checkable
class SupportsNodeProfiling(Protocol):
    """A backend with its own profiler, such as TensorRT's IProfiler."""

    def profile_nodes(self, graph: str, inputs: GraphInputs, runs: int) -> list[NodeTime]:
        """Time the layers of a graph over so many runs; they are returned in the order of execution."""
