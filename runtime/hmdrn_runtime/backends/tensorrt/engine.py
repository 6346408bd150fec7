"""A deserialised engine, and what it takes."""

from __future__ import annotations

import json
from typing import Any

from hmdrn_runtime.backends.tensorrt.logger import make_logger, started
from hmdrn_runtime.bundle.manifest import Graph
from hmdrn_runtime.errors import BackendError

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "UINT8": "uint8",
    "INT8": "int8",
    "BOOL": "bool",
    "INT32": "int32",
}


_LINES = 100
"""Messages that are kept of an engine, which may run for months."""


class LoadedEngine:
    """An engine that is ready to run.

    Args:
        trt: TensorRT's module.
        plan: The engine's file; its digest has been checked.
        name: Its graph's name, for messages.
        graph: What the graph takes and gives.
        dla_core: The deep-learning accelerator that it was built for; None without.

    Attributes:
        largest: The most that it takes along every free axis of its inputs.

    Raises:
        BackendError: TensorRT refuses it, or it is not of this graph.
    """

    def __init__(self, trt: Any, plan: bytes, name: str, graph: Graph, dla_core: int | None = None) -> None:
        self.name, self.graph, self._trt = name, graph, trt
        self.log = make_logger(trt, _LINES)
        # Kept: an engine must not outlive its runtime.
        self._runtime = runtime = started(trt.Runtime, self.log)
        if dla_core is not None:
            runtime.DLA_core = dla_core  # an engine does not remember which one it was built for
        self._engine = engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self.refusal("load its engine")
        self._check_tensors(trt)
        self.largest = self._largest()

    def create_context(self, profiler: Any = None) -> Any:
        """An execution context, for one thread at a time; with a profiler it waits for each run."""
        self.begin()
        engine = self._engine
        context = engine.create_execution_context()
        if context is None:
            raise self.refusal("make an execution context, which takes device memory,")
        if profiler is not None:
            context.profiler = profiler
        return context

    def layer_kinds(self) -> dict[str, str]:
        """Types of its layers by name, e.g. "gemm"; of a layer that its engine does not describe, none."""
        engine, trt = self._engine, self._trt
        inspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        # An engine built to tell less lists mere names.
        layers = [layer for layer in json.loads(text)["Layers"] if isinstance(layer, dict)]
        return {layer["Name"]: layer["LayerType"] for layer in layers}

    def refusal(self, what: str) -> BackendError:
        """What TensorRT could not do with this engine, in the words that it has had since `begin`, if any."""
        return BackendError(f"TensorRT could not {what} of graph {self.name!r}: {self.log.last_words()}")

    def begin(self) -> None:
        """Begin a call in this thread: what went wrong before is not of it."""
        self.log.begin()

    def _check_tensors(self, trt: Any) -> None:
        engine = self._engine
        found = {}
        for i in range(engine.num_io_tensors):
            tensor = engine.get_tensor_name(i)
            kind = "input" if engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT else "output"
            dtype = engine.get_tensor_dtype(tensor).name
            found[tensor] = (kind, _DTYPES.get(dtype, dtype))
        expected = {t.name: ("input", t.dtype) for t in self.graph.inputs}
        expected |= {t.name: ("output", t.dtype) for t in self.graph.outputs}
        if found != expected:
            raise BackendError(
                f"the engine of graph {self.name!r} is of another graph: it has {_listed(found)}, "
                f"the manifest says {_listed(expected)}"
            )

    def _largest(self) -> dict[str, int]:
        engine = self._engine
        largest: dict[str, int] = {}
        for tensor in self.graph.inputs:
            _, _, most = engine.get_tensor_profile_shape(tensor.name, 0)
            for axis, size in zip(tensor.shape, tuple(most), strict=True):
                if isinstance(axis, str):
                    largest[axis] = min(size, largest.get(axis, size))
        return largest


def _listed(tensors: dict[str, tuple[str, str]]) -> str:
    return ", ".join(sorted(f"{kind} {name} ({dtype})" for name, (kind, dtype) in tensors.items()))
