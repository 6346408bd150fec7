"""One execution context with its buffers, used by one thread at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import GraphOutputs
from hmdrn_runtime.backends.tensorrt.activations import ActivationMemory
from hmdrn_runtime.backends.tensorrt.cuda.base import CapturedGraph, Cuda, DeviceBuffer, PinnedBuffer, Stream
from hmdrn_runtime.backends.tensorrt.engine import LoadedEngine
from hmdrn_runtime.backends.timing import TransferTimes
from hmdrn_runtime.errors import BackendError

Steps = list[Callable[[], None]]

ALIGNMENT = 256
"""Alignment of the addresses that TensorRT accepts, in bytes."""


@dataclass(frozen=True)
class DeviceArray:
    """An array on the device, or some rows of one.

    Attributes:
        buffer: The whole memory.
        shape: Its shape.
        dtype: Its type.
        offset: Its start in the buffer, in bytes.
    """

    buffer: DeviceBuffer
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0

    @property
    def address(self) -> int:
        """Address of its first element."""
        return self.buffer.address + self.offset

    @property
    def size(self) -> int:
        """Size in bytes, without the padding."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def capacity(self) -> int:
        """Number of rows that the buffer holds, with the padding after the array."""
        return (self.buffer.size - self.offset) // self._row_size

    def slice_rows(self, rows: slice) -> DeviceArray:
        """Return some rows, which may reach into the padding, without a copy."""
        start, stop, _ = rows.indices(self.capacity if rows.stop is not None else self.shape[0])
        shape = (stop - start, *self.shape[1:])
        return replace(self, shape=shape, offset=self.offset + start * self._row_size)

    @property
    def _row_size(self) -> int:
        return self.size // self.shape[0]


Value = npt.NDArray[Any] | DeviceArray
Inputs = Mapping[str, Value]
Binding = tuple[tuple[str, tuple[int, ...], int], ...]


def describe_binding(inputs: Inputs) -> Binding:
    """Return the shapes and addresses that a context is given; a captured graph is valid for equal ones."""
    return tuple(
        (name, value.shape, value.address if isinstance(value, DeviceArray) else 0)
        for name, value in inputs.items()
    )


class _Staging:
    """Memory for one input or output, on the device and page-locked on the host; it grows on demand."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._device: DeviceBuffer | None = None
        self._host: PinnedBuffer | None = None

    def device_address(self, size: int) -> int:
        if self._device is None or self._device.size < size:
            self._device = None  # freed first: a small device may not hold both
            self._device = DeviceBuffer(self._cuda, size)
        return self._device.address

    def host_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        size = int(np.prod(shape)) * dtype.itemsize
        if self._host is None or self._host.bytes.nbytes < size:
            self._host = PinnedBuffer(self._cuda, size)
        return self._host.bytes[:size].view(dtype).reshape(shape)


class Execution:
    """An execution context of an engine.

    A call with the same shapes and addresses as the one before, such as a camera's next frame, is captured as
    a CUDA graph, copies included, and from then on launched as one. Where capture is not supported, and right
    after a change of shapes, a call runs step by step.

    Args:
        cuda: Its context is current, here and in `run`.
        loaded: The engine.
        activations: Lends it the memory for its activations, for one run at a time. Where another buffer is
            lent than for the run before, that run is not a captured graph.
        profiler: TensorRT's IProfiler that receives the layers' times; None to capture graphs.

    Attributes:
        binding: The inputs that the context was last given; empty if none.
    """

    def __init__(
        self, cuda: Cuda, loaded: LoadedEngine, activations: ActivationMemory, profiler: Any = None
    ) -> None:
        self._cuda, self._loaded, self._activations = cuda, loaded, activations
        self._activation_address = 0
        self._context = loaded.create_context(profiler)
        self._stream = Stream(cuda)
        names = [tensor.name for tensor in (*loaded.graph.inputs, *loaded.graph.outputs)]
        self._staging = {name: _Staging(cuda) for name in names}
        self.binding: Binding = ()
        self._uploads: Steps = []
        self._downloads: Steps = []
        self._outputs: GraphOutputs = {}
        self._ready = False
        self._graph: CapturedGraph | None = None
        self._capturing = profiler is None and loaded.capturable

    def run(self, inputs: Inputs) -> GraphOutputs:
        """Run the engine once, and return outputs that belong to the caller.

        The inputs are within the engine's maximum sizes; host arrays are C-contiguous. After a BackendError
        the execution must be dropped.
        """
        with self._borrow_memory():
            self._stage(inputs)
            try:
                self._submit()
            finally:  # after an error too: pending copies must not outlive their memory
                self._cuda.synchronize(self._stream.stream)
        return {name: array.copy() for name, array in self._outputs.items()}

    def run_timed(self, inputs: Inputs) -> tuple[GraphOutputs, TransferTimes]:
        """Run as `run` does, but step by step, and time copies in, engine and copies out.

        The times are those of the host's clock, and include waiting for each part to finish.
        """
        with self._borrow_memory():
            self._stage(inputs)
            seconds = [self._time(steps) for steps in (self._uploads, [self._enqueue], self._downloads)]
        return {name: array.copy() for name, array in self._outputs.items()}, TransferTimes(*seconds)

    def close(self) -> None:
        """Free the context now, although callers may still refer to this execution."""
        self._reset()
        self._context = None

    def _reset(self) -> None:
        """Return to the initial state, so that the context is given its inputs anew."""
        self._graph, self._ready, self.binding = None, False, ()

    @contextmanager
    def _borrow_memory(self) -> Iterator[None]:
        """Have memory for activations during a run."""
        self._loaded.log.begin_call()
        with self._activations.borrow(self._loaded.activation_size, self._activation_address) as buffer:
            if buffer.address != self._activation_address:
                self._reset()  # a captured graph uses the previous memory
                self._loaded.give_memory(self._context, buffer.address)
                self._activation_address = buffer.address
            yield

    def _stage(self, inputs: Inputs) -> None:
        """Copy host inputs to page-locked memory, and give the context new shapes and addresses."""
        # Equal shapes use the same staging memory: an unchanged binding is still valid.
        if self.binding != (binding := describe_binding(inputs)):
            self._bind(inputs)
            self.binding = binding
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                np.copyto(self._staging[name].host_array(value.shape, value.dtype), value)

    def _time(self, steps: Steps) -> float:
        start = time.perf_counter()
        try:
            for step in steps:
                step()
        finally:
            self._cuda.synchronize(self._stream.stream)
        return time.perf_counter() - start

    def _bind(self, inputs: Inputs) -> None:
        """Give the context shapes and addresses, and list the copies of a run."""
        context, cuda, stream = self._context, self._cuda, self._stream.stream
        self._reset()  # a captured graph is valid only for the context's current state
        self._uploads, self._downloads, self._outputs = [], [], {}
        for name, value in inputs.items():
            if not context.set_input_shape(name, value.shape):
                raise self._loaded.make_error(f"take {name} of shape {value.shape}")
            staging = self._staging[name]
            if isinstance(value, np.ndarray):
                address = staging.device_address(value.nbytes)
                host = staging.host_array(value.shape, value.dtype)
                self._uploads.append(partial(cuda.upload, address, host, stream))
            elif value.address % ALIGNMENT == 0:
                address = value.address
            else:
                address = staging.device_address(value.size)
                self._uploads.append(partial(cuda.copy, address, value.address, value.size, stream))
            self._set_address(name, address)
        for output in self._loaded.graph.outputs:
            shape = tuple(context.get_tensor_shape(output.name))
            if min(shape, default=0) < 0:
                raise self._loaded.make_error(f"infer the shape of output {output.name}")
            staging = self._staging[output.name]
            host = staging.host_array(shape, np.dtype(output.dtype))
            address = staging.device_address(host.nbytes)
            self._set_address(output.name, address)
            self._outputs[output.name] = host
            self._downloads.append(partial(cuda.download, host, address, stream))

    def _set_address(self, name: str, address: int) -> None:
        context = self._context
        if not context.set_tensor_address(name, address):
            raise self._loaded.make_error(f"take an address of {name}")

    def _enqueue(self) -> None:
        context = self._context
        if not context.execute_async_v3(self._stream.stream):
            raise self._loaded.make_error("run the engine")

    def _submit(self) -> None:
        """Enqueue one run on the stream."""
        # The first run after a change of shapes does extra work, which must not be captured.
        if self._ready and self._graph is None and self._capturing:
            self._graph = self._capture()
        if self._graph is not None:
            self._cuda.launch(self._graph.graph, self._stream.stream)
            return
        self._enqueue_all()
        self._ready = True

    def _enqueue_all(self) -> None:
        for step in (*self._uploads, self._enqueue, *self._downloads):
            step()

    def _capture(self) -> CapturedGraph | None:
        try:
            graph = self._cuda.capture(self._stream.stream, self._enqueue_all)
        except BackendError:
            self._loaded.log.begin_call()  # the run that follows reports its own errors
            graph = None
        self._capturing = graph is not None
        return None if graph is None else CapturedGraph(self._cuda, graph)
