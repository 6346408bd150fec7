"""What a backend may offer to be measured from within. ONNX Runtime's CPU has no transfers to time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from hmdrn_runtime.backends.base import Resident


@dataclass(frozen=True)
class Transfers:
    """One run of a graph on a device with memory of its own, in seconds.

    Attributes:
        to_device: Copying the inputs there.
        compute: The graph.
        to_host: Copying the outputs back.
    """

    to_device: float
    compute: float
    to_host: float


@runtime_checkable
class TimesTransfers(Protocol):
    """A backend that tells the times of its copies."""

    def run_timed(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident]
    ) -> tuple[dict[str, npt.NDArray[Any]], Transfers]:
        """As `Backend.run`, with the times."""


@dataclass(frozen=True)
class NodeTime:
    """One operator of a graph as it was executed: after fusion, so it may stand for several nodes.

    Attributes:
        name: Its name.
        operator: Its type, e.g. "Conv".
        ms: Median milliseconds of a run.
    """

    name: str
    operator: str
    ms: float


@runtime_checkable
class ProfilesNodes(Protocol):
    """A backend with a profiler of its own, as TensorRT's IProfiler."""

    def node_times(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident], runs: int
    ) -> list[NodeTime]:
        """Time the layers of a graph, in the order of execution.

        Args:
            graph: Its name in the bundle.
            inputs: As `Backend.run` takes them.
            runs: How often to run it.
        """
