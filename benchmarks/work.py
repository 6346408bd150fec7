"""Multiply-adds and bytes of a graph's operators as ONNX Runtime executes them, and their roofline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.profiling.operators import record_onnxruntime_events

_RUNS = 20
_PRODUCTS = ("MatMul", "FusedMatMul", "Gemm", "FusedGemm")
_CONVOLUTIONS = ("Conv", "FusedConv")
_FLOAT = 4


@dataclass(frozen=True)
class Peak:
    """Measured peak of this machine.

    Attributes:
        macs: Multiply-adds per second in a product of two float32 matrices of 2048 x 2048.
        bytes: Bytes read and written per second in a copy of 256 MiB.
    """

    macs: float
    bytes: float


@dataclass(frozen=True)
class Stage:
    """A stage of a classification or an enrollment.

    Attributes:
        name: Its name.
        seconds: Median time.
        macs: Multiply-adds.
        bytes: Bytes read and written.
    """

    name: str
    seconds: float
    macs: float
    bytes: float

    def roof(self, peak: Peak) -> float:
        """Return the minimum time in seconds."""
        return max(self.macs / peak.macs, self.bytes / peak.bytes)

    def share(self, peak: Peak) -> float:
        """Return the achieved share of the roofline."""
        return self.roof(peak) / self.seconds

    def bound(self, peak: Peak) -> str:
        """Return the limiting resource, "multiply-adds" or "bytes"."""
        return "multiply-adds" if self.macs / peak.macs > self.bytes / peak.bytes else "bytes"


@dataclass(frozen=True)
class NodeWork:
    """Time and work of one operator.

    Attributes:
        name: Its name.
        seconds: Median time from the profiler.
        macs: Multiply-adds of convolutions and matrix products; 0 for other operators.
        bytes: Bytes read and written, weights included.
    """

    name: str
    seconds: float
    macs: int
    bytes: int


def profile_graph(model: Path, inputs: Mapping[str, npt.NDArray[Any]], threads: int) -> list[NodeWork]:
    """Profile the operators of an ONNX file, after fusion.

    Args:
        model: The file.
        inputs: Arrays by input name.
        threads: CPU threads.
    """
    events = record_onnxruntime_events(model, inputs, threads, _RUNS)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_name.setdefault(event["name"], []).append(event)
    return [
        NodeWork(name, float(np.median([e["dur"] for e in runs])) / 1e6, *count_node_work(runs[-1]["args"]))
        for name, runs in by_name.items()
    ]


def count_node_work(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Return multiply-adds and bytes of one execution from the profiler's record of it."""
    inputs, outputs = (_shapes(arguments[f"{side}_type_shape"]) for side in ("input", "output"))
    moved = sum(int(arguments[f"{kind}_size"]) for kind in ("parameter", "activation", "output"))
    if arguments["op_name"] in _CONVOLUTIONS:
        # Every output value is a sum over one filter: (channels, rows, columns).
        return math.prod(outputs[0]) * math.prod(inputs[1][1:]), moved
    if arguments["op_name"] not in _PRODUCTS:
        return 0, moved
    rows, columns = outputs[0][-2:]
    # Whether or not a side is transposed: the left one has rows x depth entries in each of its matrices.
    depth = math.prod(inputs[0][-2:]) // rows
    # Weights that were packed beforehand are neither inputs nor part of the recorded bytes.
    packed = _FLOAT * depth * columns if len(inputs) == 1 else 0
    return math.prod(outputs[0]) * depth, moved + packed


def combine_nodes(name: str, seconds: float, nodes: Sequence[NodeWork]) -> Stage:
    """Return the stage made of these operators, with its measured time."""
    return Stage(name, seconds, sum(node.macs for node in nodes), sum(node.bytes for node in nodes))


def _shapes(tensors: list[dict[str, list[int]]]) -> list[list[int]]:
    return [shape for tensor in tensors for shape in tensor.values()]
