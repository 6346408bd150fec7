"""A deserialized engine and its limits."""

from __future__ import annotations

import json
from typing import Any

from hmdrn_runtime.backends.tensorrt.logger import get_logger, start_with_log
from hmdrn_runtime.bundle.manifest import Graph
from hmdrn_runtime.errors import BackendError

_FLOATS = {"FLOAT": "float32", "HALF": "float16"}
"""NumPy's names of TensorRT's types; those of other types differ in case alone."""


class LoadedEngine:
    """An engine that is ready to run.

    Args:
        trt: TensorRT's module.
        plan: The engine's file; its digest has been checked.
        name: Its graph's name, for messages.
        graph: Inputs and outputs of the graph.
        dla_core: The deep-learning accelerator that it was built for; None without one.

    Attributes:
        max_sizes: Maximum size of every free axis of its inputs.
        activation_size: Bytes of device memory that a run at these sizes needs for its activations.
        capturable: True if its runs may be captured in CUDA graphs.

    Raises:
        BackendError: TensorRT refuses it, or it belongs to another graph.
    """

    def __init__(self, trt: Any, plan: bytes, name: str, graph: Graph, dla_core: int | None = None) -> None:
        self.name, self.graph, self._trt = name, graph, trt
        # Work on an accelerator cannot be captured in a CUDA graph.
        self.capturable = dla_core is None
        self.log = get_logger(trt)
        # An attribute, because an engine must not outlive its runtime.
        self._runtime = runtime = start_with_log(trt.Runtime, self.log)
        if dla_core is not None:
            runtime.DLA_core = dla_core  # an engine does not remember which one it was built for
        self._engine = engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self.make_error("load its engine")
        self._check_tensors()
        self.max_sizes = self._read_max_sizes()
        self.activation_size = self._read_activation_size()

    def create_context(self, profiler: Any = None) -> Any:
        """Create an execution context, for one thread at a time; with a profiler it waits for each run.

        It has no memory for activations: `give_memory` sets it before a run.
        """
        self.log.begin_call()
        engine, trt = self._engine, self._trt
        if hasattr(trt, "ExecutionContextAllocationStrategy"):  # from TensorRT 10 on
            context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        else:
            context = engine.create_execution_context_without_device_memory()
        if context is None:
            raise self.make_error("make an execution context, which takes device memory,")
        if profiler is not None:
            context.profiler = profiler
        return context

    def give_memory(self, context: Any, address: int) -> None:
        """Let a context keep its activations at an address, `activation_size` bytes aligned to 256."""
        if hasattr(context, "set_device_memory"):  # from TensorRT 10.1 on
            context.set_device_memory(address, self.activation_size)
        else:
            context.device_memory = address

    def read_layer_types(self) -> dict[str, str]:
        """Return the types of its layers by name, e.g. "gemm", as far as the engine describes them."""
        engine, trt = self._engine, self._trt
        inspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        # An engine built with less verbosity lists mere names.
        layers = [layer for layer in json.loads(text)["Layers"] if isinstance(layer, dict)]
        return {layer["Name"]: layer["LayerType"] for layer in layers}

    def make_error(self, action: str) -> BackendError:
        """Return the error of a failed action, with TensorRT's first and last since `log.begin_call`."""
        return BackendError(
            f"TensorRT could not {action} of graph {self.name!r}: {self.log.describe_errors()}"
        )

    def _check_tensors(self) -> None:
        engine, trt = self._engine, self._trt
        tensors = {}
        for i in range(engine.num_io_tensors):
            tensor = engine.get_tensor_name(i)
            kind = "input" if engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT else "output"
            dtype = engine.get_tensor_dtype(tensor).name
            tensors[tensor] = (kind, _FLOATS.get(dtype, dtype.lower()))
        expected = {t.name: ("input", t.dtype) for t in self.graph.inputs}
        expected |= {t.name: ("output", t.dtype) for t in self.graph.outputs}
        if tensors != expected:
            raise BackendError(
                f"the engine of graph {self.name!r} belongs to another graph: it has "
                f"{_format_tensors(tensors)}, the manifest says {_format_tensors(expected)}"
            )

    def _read_activation_size(self) -> int:
        engine = self._engine
        if hasattr(engine, "device_memory_size_v2"):  # from TensorRT 10.1 on
            size = engine.device_memory_size_v2
        else:
            size = engine.device_memory_size
        return int(size)

    def _read_max_sizes(self) -> dict[str, int]:
        engine = self._engine
        max_sizes: dict[str, int] = {}
        for tensor in self.graph.inputs:
            _, _, largest = engine.get_tensor_profile_shape(tensor.name, 0)
            for axis, size in zip(tensor.shape, tuple(largest), strict=True):
                if isinstance(axis, str):
                    max_sizes[axis] = min(size, max_sizes.get(axis, size))
        return max_sizes


def _format_tensors(tensors: dict[str, tuple[str, str]]) -> str:
    return ", ".join(sorted(f"{kind} {name} ({dtype})" for name, (kind, dtype) in tensors.items()))
