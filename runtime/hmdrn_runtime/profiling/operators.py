"""Where the time of a graph goes, operator by operator."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.timing import NodeTime, ProfilesNodes
from hmdrn_runtime.bundle.bundle import Bundle

_WARMUP = 5
_NODE = "_kernel_time"


@dataclass(frozen=True)
class OperatorTime:
    """All operators of one type.

    Attributes:
        operator: The type, e.g. "Conv".
        count: How many there are.
        ms: Milliseconds of all of them in one run.
        share: Their part of the time of all operators, 0-1.
    """

    operator: str
    count: int
    ms: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


def node_times(
    bundle: Bundle,
    backend: Backend,
    graph: str,
    inputs: Mapping[str, npt.NDArray[Any]],
    threads: int | None = None,
    runs: int = 50,
) -> list[NodeTime]:
    """The operators of a graph, in the order of execution.

    A backend with a profiler of its own (`hooks.ProfilesNodes`) is asked; else it is ONNX Runtime's, in a
    session beside the backend's. Profiling costs each operator a little, so that the sum is more than the
    graph takes without it.

    Args:
        bundle: At the variant in use.
        backend: What runs it.
        graph: Its name.
        inputs: Arrays by input name.
        threads: CPU threads; all cores if None.
        runs: How often it is run.
    """
    if isinstance(backend, ProfilesNodes):
        return backend.node_times(graph, inputs, runs)
    return onnxruntime_node_times(bundle.graph_path(graph), inputs, threads, runs)


def onnxruntime_node_times(
    model: Path, inputs: Mapping[str, npt.NDArray[Any]], threads: int | None = None, runs: int = 50
) -> list[NodeTime]:
    """As `node_times`, of an ONNX file by ONNX Runtime's profiler."""
    kinds: dict[str, str] = {}
    taken: dict[str, list[float]] = defaultdict(list)
    for event in onnxruntime_events(model, inputs, threads, _WARMUP + runs):
        kinds[event["name"]] = event["args"]["op_name"]
        taken[event["name"]].append(event["dur"] / 1e3)
    return [NodeTime(name, kinds[name], float(np.median(ms[_WARMUP:]))) for name, ms in taken.items()]


def onnxruntime_events(
    model: Path, inputs: Mapping[str, npt.NDArray[Any]], threads: int | None, runs: int
) -> list[dict[str, Any]]:
    """What ONNX Runtime's profiler writes of every execution of an operator, in their order.

    Each has `name`, `dur` in microseconds, and in `args` `op_name` and the shapes of inputs and outputs.
    """
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        if threads is not None:
            options.intra_op_num_threads = threads
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    return [
        {**event, "name": event["name"].removesuffix(_NODE)}
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(_NODE)
    ]


def by_operator(nodes: Iterable[NodeTime]) -> list[OperatorTime]:
    """Node times added up by type, the longest first."""
    groups: dict[str, list[float]] = defaultdict(list)
    for node in nodes:
        groups[node.operator].append(node.ms)
    total = sum(map(sum, groups.values())) or 1.0
    found = [OperatorTime(name, len(ms), sum(ms), sum(ms) / total) for name, ms in groups.items()]
    return sorted(found, key=lambda one: -one.ms)
