"""Memory, streams and captured graphs of a GPU, behind one small interface with two implementations."""

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

from hmdrn_runtime.errors import BackendError

Bytes = npt.NDArray[np.uint8]


class Cuda(ABC):
    """CUDA on the machine's first GPU, in its primary context, which other libraries of the process share.

    Addresses are plain numbers. All methods but `current` are called with the context current, and raise
    BackendError with CUDA's own message.
    """

    def __init__(self) -> None:
        self._in_thread = _HeldBack()

    @abstractmethod
    def current(self) -> AbstractContextManager[None]:
        """Make the primary context current in this thread, and what was before afterwards."""

    @abstractmethod
    def allocate(self, size: int) -> int:
        """Device memory of so many bytes, aligned to 256."""

    @abstractmethod
    def free(self, address: int) -> None:
        """Give device memory back."""

    @abstractmethod
    def allocate_pinned(self, size: int) -> int:
        """Page-locked memory of the host, which the GPU copies from and to without a detour."""

    @abstractmethod
    def free_pinned(self, address: int) -> None:
        """Give page-locked memory back."""

    @abstractmethod
    def create_stream(self) -> Any:
        """A stream that waits for no other."""

    @abstractmethod
    def destroy_stream(self, stream: Any) -> None:
        """Give a stream back."""

    @abstractmethod
    def handle(self, stream: Any) -> int:
        """A stream as TensorRT takes it."""

    @abstractmethod
    def upload(self, address: int, host: npt.NDArray[Any], stream: Any) -> None:
        """Have a C-contiguous array copied to the device."""

    @abstractmethod
    def download(self, host: npt.NDArray[Any], address: int, stream: Any) -> None:
        """Have device memory copied into a C-contiguous array."""

    @abstractmethod
    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """Have device memory copied on the device."""

    @abstractmethod
    def synchronize(self, stream: Any) -> None:
        """Wait until all is done that a stream was given."""

    def capture(self, stream: Any, work: Callable[[], None]) -> Any | None:
        """A graph of what `work` gives to a stream, which does not run it; None if that is not to be had.

        What the garbage collector gives back in this thread meanwhile is held back until the end, as to free
        anything would spoil the capture.
        """
        held = self._in_thread.frees = []
        try:
            return self._capture(stream, work)
        finally:
            self._in_thread.frees = None
            for free in held:
                self.give_back(free)

    def give_back(self, free: Callable[[], None]) -> None:
        """Free something, in whatever context; inside a capture of this thread, after it."""
        if self._in_thread.frees is not None:
            self._in_thread.frees.append(free)
            return
        # A device that is lost has lost its memory with it; an exception here would reach nobody.
        with contextlib.suppress(BackendError), self.current():
            free()

    def _capture(self, stream: Any, work: Callable[[], None]) -> Any | None:
        """As `capture`; a failure leaves neither a graph nor an error that a later call would report."""
        return None

    def launch(self, graph: Any, stream: Any) -> None:
        """Run a captured graph."""
        raise NotImplementedError

    def destroy_graph(self, graph: Any) -> None:
        """Give a captured graph back."""
        raise NotImplementedError


class _HeldBack(threading.local):
    """What a thread may not free yet: a list inside a capture, None outside."""

    frees: list[Callable[[], None]] | None = None


class DeviceBuffer:
    """Device memory that is given back with the object.

    Args:
        cuda: Where it lies; its context is current.
        size: Bytes.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = cuda.allocate(size)
        self.release = weakref.finalize(self, cuda.give_back, partial(cuda.free, self.address))


class PinnedBuffer:
    """Page-locked memory that is given back with the object; `bytes` is valid as long as the object lives."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        address = cuda.allocate_pinned(size)
        self.bytes: Bytes = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        self.release = weakref.finalize(self, cuda.give_back, partial(cuda.free_pinned, address))


class Stream:
    """A stream that is given back with the object."""

    def __init__(self, cuda: Cuda) -> None:
        self.stream = cuda.create_stream()
        self.release = weakref.finalize(self, cuda.give_back, partial(cuda.destroy_stream, self.stream))


class CapturedGraph:
    """A captured graph that is given back with the object."""

    def __init__(self, cuda: Cuda, graph: Any) -> None:
        self.graph = graph
        self.release = weakref.finalize(self, cuda.give_back, partial(cuda.destroy_graph, graph))
