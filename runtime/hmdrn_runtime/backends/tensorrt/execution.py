"""One execution context with its buffers: used by one thread at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.tensorrt.cuda.base import CapturedGraph, Cuda, DeviceBuffer, PinnedBuffer, Stream
from hmdrn_runtime.backends.tensorrt.engine import LoadedEngine
from hmdrn_runtime.backends.timing import Transfers
from hmdrn_runtime.errors import BackendError

Steps = list[Callable[[], None]]

ALIGNMENT = 256
"""Of the addresses that TensorRT takes."""


@dataclass(frozen=True)
class DeviceArray:
    """An array on the device, or some rows of it.

    Attributes:
        buffer: The memory, all of it.
        shape: Its shape.
        dtype: Its type.
        offset: Where it begins in the buffer, in bytes.
    """

    buffer: DeviceBuffer
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0

    @property
    def address(self) -> int:
        """Where it lies."""
        return self.buffer.address + self.offset

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def room(self) -> int:
        """Rows that the buffer has for it, with the padding after it."""
        return (self.buffer.size - self.offset) // self._row

    def rows(self, part: slice) -> DeviceArray:
        """Some rows, in place: nothing is copied. They may reach into the padding."""
        start, stop, _ = part.indices(self.room if part.stop is not None else self.shape[0])
        shape = (stop - start, *self.shape[1:])
        return DeviceArray(self.buffer, shape, self.dtype, self.offset + start * self._row)

    @property
    def _row(self) -> int:
        return self.size // self.shape[0]


Inputs = Mapping[str, npt.NDArray[Any] | DeviceArray]
Binding = tuple[tuple[str, tuple[int, ...], int], ...]


def binding(inputs: Inputs) -> Binding:
    """What a context is told of inputs: a captured graph is good for calls that have all of it in common."""
    return tuple(
        (name, value.shape, value.address if isinstance(value, DeviceArray) else 0)
        for name, value in inputs.items()
    )


class _Staging:
    """Memory for one input or output, on the device and page-locked on the host; it grows with the need."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._device: DeviceBuffer | None = None
        self._host: PinnedBuffer | None = None

    def device(self, size: int) -> int:
        if self._device is None or self._device.size < size:
            self._device = None  # given back first: a small device may not hold both
            self._device = DeviceBuffer(self._cuda, size)
        return self._device.address

    def host(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        size = int(np.prod(shape)) * dtype.itemsize
        if self._host is None or self._host.bytes.nbytes < size:
            self._host = PinnedBuffer(self._cuda, size)
        return self._host.bytes[:size].view(dtype).reshape(shape)


class Execution:
    """An execution context of an engine.

    A call whose shapes and addresses are those of the call before is captured as a CUDA graph, copies
    included, and from then on launched as one: a camera's frames are. Where that is not to be had, it runs
    step by step, as any call does whose shapes have just changed.

    Args:
        cuda: Its context is current, here and in `run`.
        loaded: What to run.
        profiler: TensorRT's IProfiler to tell the layers' times to, or None. With one, nothing is captured.

    Attributes:
        bound: What the context was last told of inputs; nothing if empty.
    """

    def __init__(self, cuda: Cuda, loaded: LoadedEngine, profiler: Any = None) -> None:
        self._cuda, self._loaded = cuda, loaded
        self._context = loaded.create_context(profiler)
        self._stream = Stream(cuda)
        names = [tensor.name for tensor in (*loaded.graph.inputs, *loaded.graph.outputs)]
        self._staging = {name: _Staging(cuda) for name in names}
        self.bound: Binding = ()
        self._before: Steps = []
        self._after: Steps = []
        self._outputs: dict[str, npt.NDArray[Any]] = {}
        self._ready = False
        self._graph: CapturedGraph | None = None
        self._capturing = profiler is None

    def run(self, inputs: Inputs) -> dict[str, npt.NDArray[Any]]:
        """Run the engine once.

        Args:
            inputs: What the graph takes, no larger than the engine does; arrays of the host are C-contiguous.

        Returns:
            The outputs, which belong to the caller.

        Raises:
            BackendError: TensorRT or CUDA fails; the execution is then of no more use.
        """
        self._take(inputs)
        try:
            self._issue()
        finally:  # after an error too: what was copied before it must not outlive its memory
            self._cuda.synchronize(self._stream.stream)
        return {name: array.copy() for name, array in self._outputs.items()}

    def run_timed(self, inputs: Inputs) -> tuple[dict[str, npt.NDArray[Any]], Transfers]:
        """As `run`, step by step, and waiting after each of copies in, engine and copies out.

        The times are those of the host's clock, the waiting included.
        """
        self._take(inputs)
        seconds = [self._timed(steps) for steps in (self._before, [self._enqueue], self._after)]
        return {name: array.copy() for name, array in self._outputs.items()}, Transfers(*seconds)

    def forget(self) -> None:
        """Be as new: what a call that failed has left is told to the context again."""
        self._graph, self._ready, self.bound = None, False, ()

    def _take(self, inputs: Inputs) -> None:
        """Have the inputs ready to be copied, and the context told of their shapes and addresses."""
        self._loaded.begin()
        # The same shapes take the same memory on the way: what is bound need not be told again.
        if self.bound != (new := binding(inputs)):
            self._bind(inputs)
            self.bound = new
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                np.copyto(self._staging[name].host(value.shape, value.dtype), value)

    def _timed(self, steps: Steps) -> float:
        start = time.perf_counter()
        try:
            for step in steps:
                step()
        finally:
            self._cuda.synchronize(self._stream.stream)
        return time.perf_counter() - start

    def _address(self, name: str, value: npt.NDArray[Any] | DeviceArray) -> int:
        """Where TensorRT is to read an input."""
        if isinstance(value, np.ndarray):
            return self._staging[name].device(value.nbytes)
        return value.address if _aligned(value) else self._staging[name].device(value.size)

    def _bind(self, inputs: Inputs) -> None:
        """Tell the context shapes and addresses, and note what a run consists of."""
        context, cuda, stream = self._context, self._cuda, self._stream.stream
        self.forget()  # a captured graph is of the state that the context is in
        before: Steps = []
        for name, value in inputs.items():
            if not context.set_input_shape(name, value.shape):
                raise self._loaded.refusal(f"take {name} of shape {value.shape}")
            address = self._address(name, value)
            self._place(name, address)
            if isinstance(value, np.ndarray):
                host = self._staging[name].host(value.shape, value.dtype)
                before.append(partial(cuda.upload, address, host, stream))
            elif not _aligned(value):
                before.append(partial(cuda.copy, address, value.address, value.size, stream))
        after: Steps = []
        self._outputs = {}
        for output in self._loaded.graph.outputs:
            shape = tuple(context.get_tensor_shape(output.name))
            if min(shape, default=0) < 0:
                raise self._loaded.refusal(f"tell the shape of output {output.name}")
            staging, dtype = self._staging[output.name], np.dtype(output.dtype)
            host = staging.host(shape, dtype)
            address = staging.device(host.nbytes)
            self._place(output.name, address)
            self._outputs[output.name] = host
            after.append(partial(cuda.download, host, address, stream))
        self._before, self._after = before, after

    def _place(self, name: str, address: int) -> None:
        context = self._context
        if not context.set_tensor_address(name, address):
            raise self._loaded.refusal(f"take an address of {name}")

    def _enqueue(self) -> None:
        context = self._context
        if not context.execute_async_v3(self._cuda.handle(self._stream.stream)):
            raise self._loaded.refusal("run the engine")

    def _issue(self) -> None:
        """Give the stream one run."""
        # A context works off changed shapes in its first run, which is not to be captured.
        if self._ready and self._graph is None and self._capturing:
            self._graph = self._captured()
        if self._graph is not None:
            self._cuda.launch(self._graph.graph, self._stream.stream)
            return
        self._step()
        self._ready = True

    def _step(self) -> None:
        for step in (*self._before, self._enqueue, *self._after):
            step()

    def _captured(self) -> CapturedGraph | None:
        try:
            graph = self._cuda.capture(self._stream.stream, self._step)
        except BackendError:
            self._loaded.begin()  # the step that follows has errors of its own
            graph = None
        self._capturing = graph is not None
        return None if graph is None else CapturedGraph(self._cuda, graph)


def _aligned(array: DeviceArray) -> bool:
    return array.address % ALIGNMENT == 0
