"""Time of a graph's operators."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.timing import NodeTime, SupportsNodeProfiling
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.device.cpu_limits import count_cores

_WARMUP = 5
_NODE = "_kernel_time"


@dataclass(frozen=True)
class OperatorTime:
    """All operators of one type.

    Attributes:
        operator: The type, e.g. "Conv".
        count: Number of operators.
        ms: Milliseconds of all of them in one run.
        share: Their share of the time of all operators, 0-1.
    """

    operator: str
    count: int
    ms: float
    share: float


def measure_node_times(
    bundle: Bundle,
    backend: Backend,
    graph: str,
    inputs: Mapping[str, npt.NDArray[Any]],
    threads: int | None = None,
    runs: int = 50,
) -> list[NodeTime]:
    """Time the operators of a graph; they are returned in the order of execution.

    The times come from the backend's own profiler (`timing.SupportsNodeProfiling`), or else from ONNX
    Runtime's, in a separate session. Profiling slows each operator down a little, so that their sum exceeds
    the graph's usual time.

    Args:
        bundle: The bundle at the variant in use.
        backend: Its backend.
        graph: Name of the graph.
        inputs: Arrays by input name.
        threads: CPU threads; all cores if None.
        runs: Number of runs.
    """
    if isinstance(backend, SupportsNodeProfiling):
        return backend.profile_nodes(graph, inputs, runs)
    types: dict[str, str] = {}
    times: dict[str, list[float]] = defaultdict(list)
    for event in record_onnxruntime_events(bundle.graph_path(graph), inputs, threads, _WARMUP + runs):
        types[event["name"]] = event["args"]["op_name"]
        times[event["name"]].append(event["dur"] / 1e3)
    return [NodeTime(name, types[name], float(np.median(ms[_WARMUP:]))) for name, ms in times.items()]


def record_onnxruntime_events(
    model: Path, inputs: Mapping[str, npt.NDArray[Any]], threads: int | None, runs: int
) -> list[dict[str, Any]]:
    """Return the events of ONNX Runtime's profiler for every execution of an operator, in order.

    Each has `name`, `dur` in microseconds, and in `args` `op_name` and the shapes of inputs and outputs.
    """
    from hmdrn_runtime.backends.ort import ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = threads or count_cores()
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    return [
        {**event, "name": event["name"].removesuffix(_NODE)}
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(_NODE)
    ]


def sum_by_operator(nodes: Iterable[NodeTime]) -> list[OperatorTime]:
    """Add up node times by type, the longest first."""
    groups: dict[str, list[float]] = defaultdict(list)
    for node in nodes:
        groups[node.operator].append(node.ms)
    total = sum(map(sum, groups.values())) or 1.0
    operators = [OperatorTime(name, len(ms), sum(ms), sum(ms) / total) for name, ms in groups.items()]
    return sorted(operators, key=lambda operator: -operator.ms)
