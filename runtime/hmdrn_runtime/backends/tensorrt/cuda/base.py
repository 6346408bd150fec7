"""The interface to a GPU's memory, streams and captured graphs, with one implementation for each package."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.device.forking import repair_after_fork
from hmdrn_runtime.errors import BackendError


def describe_package(name: str, captures_graphs: bool) -> str:
    """Name a package for CUDA, and say so if it captures no graphs."""
    return name if captures_graphs else f"{name}, which captures no CUDA graphs"


class Cuda(ABC):
    """CUDA on the machine's first GPU, in its primary context, which other libraries of the process share.

    Addresses and streams are plain numbers; TensorRT takes both as they are. All methods but `current` are
    called with the context current, and raise BackendError with CUDA's own message.

    Attributes:
        package: Name of the Python package.
        captures_graphs: True if `capture` is supported; without it a camera's frames run step by step.
        forked: True in a forked process, where CUDA does not work: nothing is freed.
    """

    package: str
    captures_graphs = False

    def __init__(self) -> None:
        self._deferred = _DeferredFrees()
        self.forked: bool = False
        repair_after_fork(self)

    def after_fork(self) -> None:
        """Note that this is a forked process."""
        self.forked = True

    def __str__(self) -> str:
        """Name the package, and say so if it captures no graphs."""
        return describe_package(self.package, self.captures_graphs)

    @abstractmethod
    def current(self) -> AbstractContextManager[None]:
        """Make the primary context current in this thread, and restore the previous one afterwards."""

    @abstractmethod
    def allocate(self, size: int) -> int:
        """Allocate so many bytes on the device, aligned to 256."""

    @abstractmethod
    def free(self, address: int) -> None:
        """Free device memory."""

    @abstractmethod
    def allocate_pinned(self, size: int) -> int:
        """Allocate page-locked host memory, which the GPU copies to and from directly."""

    @abstractmethod
    def free_pinned(self, address: int) -> None:
        """Free page-locked memory."""

    @abstractmethod
    def create_stream(self) -> int:
        """Create a stream that waits for no other."""

    @abstractmethod
    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""

    @abstractmethod
    def upload(self, address: int, host: npt.NDArray[Any], stream: int) -> None:
        """Enqueue a copy of a C-contiguous array to the device."""

    @abstractmethod
    def download(self, host: npt.NDArray[Any], address: int, stream: int) -> None:
        """Enqueue a copy of device memory to a C-contiguous array."""

    @abstractmethod
    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Enqueue a copy of so many bytes on the device."""

    @abstractmethod
    def synchronize(self, stream: int) -> None:
        """Wait until the stream has finished its work."""

    def capture(self, stream: int, work: Callable[[], None]) -> Any | None:
        """Record what `work` enqueues on a stream as a graph, without running it; None if unsupported.

        To free anything would invalidate the capture: whatever the garbage collector releases in this thread
        meanwhile is freed at the end.
        """
        frees = self._deferred.frees = []
        try:
            return self._capture(stream, work)
        finally:
            self._deferred.frees = None
            for free in frees:
                self.release(free)

    def release(self, free: Callable[[], None]) -> None:
        """Call `free` in the primary context, whichever is current; during a capture, after it."""
        if self.forked:
            return
        if self._deferred.frees is not None:
            self._deferred.frees.append(free)
            return
        # A lost device has lost its memory too, and nobody could catch an exception raised here.
        with contextlib.suppress(BackendError), self.current():
            free()

    def _capture(self, stream: int, work: Callable[[], None]) -> Any | None:
        """Implement `capture`; a failure must leave no graph and no error that a later call would report."""
        return None

    def launch(self, graph: Any, stream: int) -> None:
        """Run a captured graph."""
        raise NotImplementedError

    def destroy_graph(self, graph: Any) -> None:
        """Destroy a captured graph."""
        raise NotImplementedError


class _DeferredFrees(threading.local):
    """Functions to call after a thread's capture: a list during the capture, None outside."""

    frees: list[Callable[[], None]] | None = None


class DeviceBuffer:
    """Device memory of `size` bytes, freed with the object."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = cuda.allocate(size)
        self.release = weakref.finalize(self, cuda.release, partial(cuda.free, self.address))


class PinnedBuffer:
    """Page-locked memory, freed with the object; `bytes` is valid as long as the object lives."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        address = cuda.allocate_pinned(size)
        memory = (ctypes.c_uint8 * size).from_address(address)
        self.bytes: npt.NDArray[np.uint8] = np.ctypeslib.as_array(memory)
        self.release = weakref.finalize(self, cuda.release, partial(cuda.free_pinned, address))


class Stream:
    """A stream, destroyed with the object."""

    def __init__(self, cuda: Cuda) -> None:
        self.stream = cuda.create_stream()
        self.release = weakref.finalize(self, cuda.release, partial(cuda.destroy_stream, self.stream))


class CapturedGraph:
    """A captured graph, destroyed with the object."""

    def __init__(self, cuda: Cuda, graph: Any) -> None:
        self.graph = graph
        self.release = weakref.finalize(self, cuda.release, partial(cuda.destroy_graph, graph))
