"""A bundle's engines as a backend."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend, Resident
from hmdrn_runtime.backends.tensorrt.batching import (
    Sizes,
    blocks,
    index_of,
    padded,
    sizes_of,
    too_large,
    with_padding,
    within,
)
from hmdrn_runtime.backends.tensorrt.context_pool import Executions
from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda, DeviceBuffer, Stream
from hmdrn_runtime.backends.tensorrt.engine import LoadedEngine
from hmdrn_runtime.backends.tensorrt.engine_files import EngineFiles, build_command
from hmdrn_runtime.backends.tensorrt.execution import DeviceArray, Execution, Inputs
from hmdrn_runtime.backends.tensorrt.profiler import make_profiler
from hmdrn_runtime.backends.timing import NodeTime, Transfers
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.manifest import Graph
from hmdrn_runtime.errors import BackendError

Outputs = dict[str, npt.NDArray[Any]]


class TensorRTBackend(Backend):
    """Engines of a bundle's graphs: `classify` is loaded at once, each other when first asked for.

    That files fit does not tell whether TensorRT takes them and has the memory: the first engine does, before
    a caller settles for this backend.

    Args:
        bundle: What to run, at the variant of the engines.
        files: Its engines, which fit this device.
        trt: TensorRT's module. Without a driver its first call ends the process: look for a GPU before.
        cuda: The GPU.

    Raises:
        BackendError: The engine of `classify` cannot be loaded.
    """

    name = "tensorrt"

    def __init__(self, bundle: Bundle, files: EngineFiles, trt: Any, cuda: Cuda) -> None:
        self._bundle, self._files, self._trt, self._cuda = bundle, files, trt, cuda
        self._lock = threading.Lock()
        self._engines: dict[str, Executions] = {}
        # Before the interpreter takes the modules apart that their destructors need.
        self.close = weakref.finalize(self, _close, cuda, self._engines)
        with cuda.current():
            try:
                classify = self._engine("classify")
                classify.prepare()
            except BaseException:
                self.close()
                raise
        self._most_classes = classify.loaded.largest["classes"]

    def place(self, array: npt.NDArray[Any]) -> Resident:
        """As `Backend.place`: device memory, given back when nothing refers to the result any more.

        The rows are taken for classes, and padded.
        """
        array = np.ascontiguousarray(array)
        if array.dtype.hasobject or array.size == 0:
            raise BackendError(f"TensorRT takes no array {array.dtype}{list(array.shape)}")
        row, rows = array.nbytes // len(array), padded(len(array), self._most_classes)
        with self._cuda.current():
            stream = Stream(self._cuda)
            buffer = self._allocated(rows * row)
            self._cuda.upload(buffer.address, array, stream.stream)
            filled = len(array)
            while filled < rows:
                more = min(filled, rows - filled)
                self._cuda.copy(buffer.address + filled * row, buffer.address, more * row, stream.stream)
                filled += more
            self._cuda.synchronize(stream.stream)
            stream.release()
        return Resident(DeviceArray(buffer, array.shape, array.dtype), array.shape)

    def _allocated(self, size: int) -> DeviceBuffer:
        try:
            return DeviceBuffer(self._cuda, size)
        except BackendError:
            # Executions are made as long as there is memory: arrays must not want for it because of them.
            for executions in tuple(self._engines.values()):
                executions.clear()
            return DeviceBuffer(self._cuda, size)

    def run(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident]
    ) -> dict[str, npt.NDArray[Any]]:
        """As `Backend.run`; what is larger than the engine takes runs in blocks."""
        return self._run(graph, inputs, Execution.run)

    def run_timed(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident]
    ) -> tuple[dict[str, npt.NDArray[Any]], Transfers]:
        """As `hooks.TimesTransfers.run_timed`; blocks are added up."""
        times: list[Transfers] = []

        def timed(execution: Execution, values: Inputs) -> Outputs:
            outputs, taken = execution.run_timed(values)
            times.append(taken)
            return outputs

        outputs = self._run(graph, inputs, timed)
        return outputs, Transfers(
            sum(t.to_device for t in times), sum(t.compute for t in times), sum(t.to_host for t in times)
        )

    def node_times(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident], runs: int
    ) -> list[NodeTime]:
        """As `hooks.ProfilesNodes.node_times`, by TensorRT's profiler; blocks are added up."""
        profiler = make_profiler(self._trt)
        with self._cuda.current():
            executions = self._engine(graph)

            def work(execution: Execution) -> None:
                self._run(graph, inputs, Execution.run, execution)
                profiler.taken.clear()  # the first run is slower
                for _ in range(runs):
                    self._run(graph, inputs, Execution.run, execution)

            executions.profile(profiler, work)
            kinds = executions.loaded.layer_kinds()
        return [
            NodeTime(name, kinds.get(name, "layer"), float(np.median(ms)) * len(ms) / runs)
            for name, ms in profiler.taken.items()
        ]

    def _run(
        self,
        graph: str,
        inputs: Mapping[str, npt.NDArray[Any] | Resident],
        call: Callable[[Execution, Inputs], Outputs],
        own: Execution | None = None,
    ) -> Outputs:
        """Cut the inputs into blocks, call an execution with each, and join what it makes of them."""
        described = self._bundle.graph(graph)
        values: Inputs = {
            name: value.handle if isinstance(value, Resident) else np.asarray(value)
            for name, value in inputs.items()
        }
        sizes = sizes_of(graph, described, {name: (str(v.dtype), v.shape) for name, v in values.items()})
        outputs = {
            tensor.name: np.empty([sizes[s] if isinstance(s, str) else s for s in tensor.shape], tensor.dtype)
            for tensor in described.outputs
        }
        with self._cuda.current():
            executions = self._engine(graph)
            loaded = executions.loaded
            self._check_sizes(loaded, sizes)
            padding = _has_padding(described, values, sizes, loaded.largest)
            pieces = []
            for block in blocks(sizes, loaded.largest):
                whole = with_padding(block, sizes, loaded.largest) if padding else block
                part = {t.name: _cut(values[t.name], index_of(t, whole)) for t in described.inputs}
                pieces.append((block, part))
            for share in executions.shares(pieces):
                _, first = share[0]
                with executions.lend(first) if own is None else nullcontext(own) as execution:
                    for block, part in share:
                        found = call(execution, part)
                        for tensor in described.outputs:
                            real = found[tensor.name][index_of(tensor, within(block))]
                            outputs[tensor.name][index_of(tensor, block)] = real
        return outputs

    def _engine(self, graph: str) -> Executions:
        # Loading one engine must not hold up those that run another.
        if graph not in self._engines:
            with self._lock:
                if graph not in self._engines:
                    made = self._files.fingerprint
                    loaded = LoadedEngine(
                        self._trt, self._files.plan(graph), graph, self._bundle.graph(graph), made.dla_core
                    )
                    self._engines[graph] = Executions(self._cuda, loaded, made.one_context)
        return self._engines[graph]

    def _check_sizes(self, loaded: LoadedEngine, sizes: Mapping[str, int]) -> None:
        for axis in too_large(sizes, loaded.largest):
            raise BackendError(
                f"the engine of graph {loaded.name!r} takes at most {loaded.largest[axis]} of {axis}, not "
                f"{sizes[axis]}: build it for more photos of a species: "
                f"{build_command(self._bundle)} --shots N"
            )


def _has_padding(described: Graph, values: Inputs, sizes: Sizes, largest: Sizes) -> bool:
    """Whether all that a graph takes of classes is on the device, with the padding after it."""
    of_classes = [values[tensor.name] for tensor in described.inputs if "classes" in tensor.shape]
    needed = padded(sizes["classes"], largest["classes"]) if of_classes else 0
    return bool(of_classes) and all(isinstance(v, DeviceArray) and v.room >= needed for v in of_classes)


def _cut(value: npt.NDArray[Any] | DeviceArray, index: tuple[slice, ...]) -> npt.NDArray[Any] | DeviceArray:
    if isinstance(value, DeviceArray):
        return value.rows(index[0])  # photos and classes are rows in all that is ever resident
    return np.ascontiguousarray(value[index])


def _close(cuda: Cuda, engines: dict[str, Executions]) -> None:
    with cuda.current():
        for executions in engines.values():
            executions.clear()  # before their engine
        engines.clear()
