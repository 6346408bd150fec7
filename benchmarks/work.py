"""Multiply-adds and bytes of a graph, operator by operator, as ONNX Runtime executes it, and its roofline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.profiling.operators import onnxruntime_events

_RUNS = 20
_PRODUCTS = ("MatMul", "FusedMatMul", "Gemm", "FusedGemm")
_CONVOLUTIONS = ("Conv", "FusedConv")
_FLOAT = 4


@dataclass(frozen=True)
class Peak:
    """What this machine does at most, measured.

    Attributes:
        macs: Multiply-adds a second, of a product of two float32 matrices of 2048 x 2048.
        bytes: Bytes read and written a second, of a copy of 256 MiB.
    """

    macs: float
    bytes: float


@dataclass(frozen=True)
class Stage:
    """One stage of a classification or an enrollment.

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
        """Seconds that it takes at least."""
        return max(self.macs / peak.macs, self.bytes / peak.bytes)

    def share(self, peak: Peak) -> float:
        """Achieved share of the roofline."""
        return self.roof(peak) / self.seconds

    def bound(self, peak: Peak) -> str:
        """What limits it."""
        return "multiply-adds" if self.macs / peak.macs > self.bytes / peak.bytes else "bytes"


@dataclass(frozen=True)
class NodeWork:
    """One operator.

    Attributes:
        name: Its name.
        seconds: Median time by the profiler.
        macs: Multiply-adds of convolutions and matrix products; of others none are counted.
        bytes: What it reads and writes, weights included.
    """

    name: str
    seconds: float
    macs: int
    bytes: int


def graph_work(model: Path, inputs: Mapping[str, npt.NDArray[Any]], threads: int) -> list[NodeWork]:
    """The operators of an ONNX file for these inputs, after fusion.

    Args:
        model: The file.
        inputs: Arrays by input name.
        threads: CPU threads.
    """
    events = onnxruntime_events(model, inputs, threads, _RUNS)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_name.setdefault(event["name"], []).append(event)
    return [
        NodeWork(name, float(np.median([e["dur"] for e in runs])) / 1e6, *node_work(runs[-1]["args"]))
        for name, runs in by_name.items()
    ]


def node_work(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Multiply-adds and bytes of one execution, from what the profiler tells of it."""
    inputs, outputs = (_shapes(arguments[f"{side}_type_shape"]) for side in ("input", "output"))
    moved = sum(int(arguments[f"{kind}_size"]) for kind in ("parameter", "activation", "output"))
    if arguments["op_name"] in _CONVOLUTIONS:
        # Every output value is a sum over a filter: (channels, rows, columns).
        return math.prod(outputs[0]) * math.prod(inputs[1][1:]), moved
    if arguments["op_name"] not in _PRODUCTS:
        return 0, moved
    rows, columns = outputs[0][-2:]
    # However either side is transposed: the left one has rows x depth entries in each of its matrices.
    depth = math.prod(inputs[0][-2:]) // rows
    # Weights that were packed beforehand are no longer inputs, and no longer counted.
    packed = _FLOAT * depth * columns if len(inputs) == 1 else 0
    return math.prod(outputs[0]) * depth, moved + packed


def stage_of(name: str, seconds: float, nodes: Iterable[NodeWork]) -> Stage:
    """A stage that takes so long and is made of these operators."""
    listed = list(nodes)
    return Stage(name, seconds, sum(node.macs for node in listed), sum(node.bytes for node in listed))


def _shapes(told: list[dict[str, list[int]]]) -> list[list[int]]:
    return [shape for one in told for shape in one.values()]
