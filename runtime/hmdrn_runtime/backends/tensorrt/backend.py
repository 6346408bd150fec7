"""A bundle's engines as a backend."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import FORKED, Backend, GraphInputs, GraphOutputs, ResidentArray
from hmdrn_runtime.backends.tensorrt import batching
from hmdrn_runtime.backends.tensorrt.activations import ActivationMemory
from hmdrn_runtime.backends.tensorrt.context_pool import ContextPool
from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda, DeviceBuffer, Stream
from hmdrn_runtime.backends.tensorrt.engine import LoadedEngine
from hmdrn_runtime.backends.tensorrt.engine_files import EngineFiles, format_build_command
from hmdrn_runtime.backends.tensorrt.execution import DeviceArray, Execution, Inputs, Value
from hmdrn_runtime.backends.tensorrt.profiler import make_profiler
from hmdrn_runtime.backends.timing import NodeTime, TransferTimes
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.manifest import Graph, Tensor
from hmdrn_runtime.device.forking import keep_forever, repair_after_fork
from hmdrn_runtime.errors import BackendError

ExecutionCall: TypeAlias = Callable[[Execution, Inputs], GraphOutputs]


class TensorRTBackend(Backend):
    """Engines of a bundle's graphs: `classify` is loaded at once, each other on first use.

    Files that fit may still be refused by TensorRT or need too much memory. Loading the first engine shows
    this before a caller chooses this backend.

    Args:
        bundle: The bundle to run, at the variant of the engines.
        files: Its engines, which fit this device.
        trt: TensorRT's module. Without a driver its first call ends the process: find a GPU first.
        cuda: The GPU.

    Raises:
        BackendError: The engine of `classify` cannot be loaded.
    """

    name = "tensorrt"

    def __init__(self, bundle: Bundle, files: EngineFiles, trt: Any, cuda: Cuda) -> None:
        self._bundle, self._files, self._trt, self._cuda = bundle, files, trt, cuda
        self._lock = threading.Lock()
        self._pools: dict[str, ContextPool] = {}
        self._activations = ActivationMemory(cuda)
        # Runs before the interpreter unloads the modules that the destructors need.
        self.close = weakref.finalize(self, _close, cuda, self._pools, self._activations)
        with cuda.current():
            try:
                classify = self._get_pool("classify")
                classify.warm_up()
            except BaseException:
                self.close()
                raise
        self._max_classes = classify.loaded.max_sizes["classes"]
        repair_after_fork(self)

    def after_fork(self) -> None:
        """Leave the engines alone in a forked process, where CUDA does not work."""
        self.close.detach()
        keep_forever(self._pools)

    @property
    def folder(self) -> Path:
        """Folder of the engines."""
        return self._files.folder

    @property
    def engine_check(self) -> Mapping[str, Any] | None:
        """Figures of the check that ended the engines' build; None if they were not checked."""
        return self._files.fingerprint.check

    def place(self, array: npt.NDArray[Any]) -> ResidentArray:
        """Copy an array to device memory, which is freed with the last reference to the result.

        The rows are taken as classes, and padded.
        """
        self._check_process()
        array = np.ascontiguousarray(array)
        if array.dtype.hasobject or array.size == 0:
            raise BackendError(f"TensorRT does not accept an array {array.dtype}{list(array.shape)}")
        row_size, rows = array.nbytes // len(array), batching.pad_class_count(len(array), self._max_classes)
        with self._cuda.current():
            stream = Stream(self._cuda)
            buffer = self._allocate(rows * row_size)
            self._cuda.upload(buffer.address, array, stream.stream)
            filled = len(array)
            while filled < rows:
                count = min(filled, rows - filled)
                target = buffer.address + filled * row_size
                self._cuda.copy(target, buffer.address, count * row_size, stream.stream)
                filled += count
            self._cuda.synchronize(stream.stream)
            stream.release()
        return ResidentArray(DeviceArray(buffer, array.shape, array.dtype), array.shape)

    def _allocate(self, size: int) -> DeviceBuffer:
        try:
            return DeviceBuffer(self._cuda, size)
        except BackendError:
            # Idle executions may have taken all memory: arrays come before them.
            for pool in tuple(self._pools.values()):
                pool.clear()
            self._activations.clear()
            return DeviceBuffer(self._cuda, size)

    def run(self, graph: str, inputs: GraphInputs) -> GraphOutputs:
        """Run a graph, in blocks if the inputs exceed the engine's maximum; see `Backend.run`."""
        return self._run(graph, inputs, Execution.run)

    def run_timed(self, graph: str, inputs: GraphInputs) -> tuple[GraphOutputs, TransferTimes]:
        """Run and time a graph; see `timing.SupportsTransferTiming`. The times of blocks are added up."""
        block_times: list[TransferTimes] = []

        def run_timed(execution: Execution, values: Inputs) -> GraphOutputs:
            outputs, times = execution.run_timed(values)
            block_times.append(times)
            return outputs

        outputs = self._run(graph, inputs, run_timed)
        return outputs, TransferTimes(*map(sum, zip(*map(astuple, block_times), strict=True)))

    def profile_nodes(self, graph: str, inputs: GraphInputs, runs: int) -> list[NodeTime]:
        """Time the layers by TensorRT's profiler; see `timing.SupportsNodeProfiling`. Blocks are added up."""
        profiler = make_profiler(self._trt)
        with self._cuda.current():
            pool = self._get_pool(graph)

            def work(execution: Execution) -> None:
                self._run(graph, inputs, Execution.run, execution)
                profiler.times.clear()  # the first run is slower
                for _ in range(runs):
                    self._run(graph, inputs, Execution.run, execution)

            pool.profile(profiler, work)
            types = pool.loaded.read_layer_types()
        return [
            NodeTime(name, types.get(name, "layer"), float(np.median(ms)) * len(ms) / runs)
            for name, ms in profiler.times.items()
        ]

    def _run(
        self, name: str, inputs: GraphInputs, call: ExecutionCall, execution: Execution | None = None
    ) -> GraphOutputs:
        """Split the inputs into blocks, run each by `execution` or one of the pool, and join the outputs."""
        self._check_process()
        graph = self._bundle.graph(name)
        values: Inputs = {
            key: value.handle if isinstance(value, ResidentArray) else np.asarray(value)
            for key, value in inputs.items()
        }
        sizes = batching.infer_sizes(name, graph, {key: (str(v.dtype), v.shape) for key, v in values.items()})
        outputs = {
            tensor.name: np.empty([sizes[s] if isinstance(s, str) else s for s in tensor.shape], tensor.dtype)
            for tensor in graph.outputs
        }
        with self._cuda.current():
            pool = self._get_pool(name)
            max_sizes = pool.loaded.max_sizes
            self._check_sizes(name, sizes, max_sizes)
            padded = _has_padding(graph, values, sizes, max_sizes)
            parts = []
            for block in batching.split_blocks(sizes, max_sizes):
                whole = batching.extend_into_padding(block, sizes, max_sizes) if padded else block
                parts.append((block, {t.name: _slice(values[t.name], t, whole) for t in graph.inputs}))
            for group in pool.group_blocks(parts):
                with pool.acquire(group[0][1]) if execution is None else nullcontext(execution) as acquired:
                    for block, part in group:
                        results = call(acquired, part)
                        for tensor in graph.outputs:
                            unpadded = batching.index_block(tensor, batching.drop_padding(block))
                            target = batching.index_block(tensor, block)
                            outputs[tensor.name][target] = results[tensor.name][unpadded]
        return outputs

    def _check_process(self) -> None:
        if self._cuda.forked:
            raise BackendError(FORKED)

    def _get_pool(self, graph: str) -> ContextPool:
        # Loading one engine must not block threads that run another.
        if graph not in self._pools:
            with self._lock:
                if graph not in self._pools:
                    fingerprint, plan = self._files.fingerprint, self._files.read_plan(graph)
                    loaded = LoadedEngine(
                        self._trt, plan, graph, self._bundle.graph(graph), fingerprint.dla_core
                    )
                    self._pools[graph] = ContextPool(self._cuda, loaded, self._activations)
        return self._pools[graph]

    def _check_sizes(self, name: str, sizes: batching.Sizes, max_sizes: batching.Sizes) -> None:
        for axis in batching.find_oversized_axes(sizes, max_sizes):
            raise BackendError(
                f"the engine of graph {name!r} takes at most {max_sizes[axis]} of {axis}, not {sizes[axis]}: "
                f"build it for more photos of a species: {format_build_command(self._bundle)} --shots N"
            )


def _has_padding(graph: Graph, values: Inputs, sizes: batching.Sizes, max_sizes: batching.Sizes) -> bool:
    """Return True if all inputs with classes are on the device, with their padding."""
    class_inputs = [values[tensor.name] for tensor in graph.inputs if "classes" in tensor.shape]
    if not class_inputs:
        return False
    rows = batching.pad_class_count(sizes["classes"], max_sizes["classes"])
    return all(isinstance(value, DeviceArray) and value.capacity >= rows for value in class_inputs)


def _slice(value: Value, tensor: Tensor, block: batching.Block) -> Value:
    index = batching.index_block(tensor, block)
    if isinstance(value, DeviceArray):
        return value.slice_rows(index[0])  # the first axis of a resident array is photos or classes
    return np.ascontiguousarray(value[index])


def _close(cuda: Cuda, pools: dict[str, ContextPool], activations: ActivationMemory) -> None:
    with cuda.current():
        for pool in pools.values():
            pool.clear()  # before its engine
        pools.clear()
        activations.clear()
