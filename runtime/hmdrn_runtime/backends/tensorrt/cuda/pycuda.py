"""Device memory through pycuda: never its `autoinit`, which makes a context of its own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.messages import one_line

_DEVICE = 0
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which pycuda has no name for


class PyCuda(Cuda):
    """pycuda, as it is built on JetPack. It has no capture of streams: graphs run step by step.

    Raises:
        BackendError: The package cannot be imported, or finds no device.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            self._driver: Any = importlib.import_module("pycuda.driver")
        except ImportError as error:
            raise BackendError(f"pycuda cannot be imported: {one_line(error)}") from error
        with self._told("find a device"):
            self._driver.init()
            self._context = self._driver.Device(_DEVICE).retain_primary_context()
        # pycuda frees what is no longer referred to: what is in use is held here.
        self._allocated: dict[int, Any] = {}
        self._pinned: dict[int, npt.NDArray[np.uint8]] = {}
        self._streams: dict[int, Any] = {}

    @contextmanager
    def current(self) -> Iterator[None]:
        """As `Cuda.current`."""
        with self._told("use its device"):
            self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def allocate(self, size: int) -> int:
        """As `Cuda.allocate`."""
        with self._told(f"allocate {size / 2**20:.1f} MiB on the device"):
            allocation = self._driver.mem_alloc(size)
        self._allocated[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        """As `Cuda.free`."""
        with self._told("free memory"):
            self._allocated.pop(address).free()

    def allocate_pinned(self, size: int) -> int:
        """As `Cuda.allocate_pinned`."""
        with self._told(f"lock {size / 2**20:.1f} MiB of the host"):
            array = self._driver.pagelocked_empty(size, np.uint8)
        self._pinned[array.ctypes.data] = array
        return int(array.ctypes.data)

    def free_pinned(self, address: int) -> None:
        """As `Cuda.free_pinned`."""
        with self._told("free locked memory"):
            del self._pinned[address]

    def create_stream(self) -> Any:
        """As `Cuda.create_stream`: its handle."""
        with self._told("make a stream"):
            stream = self._driver.Stream(_NON_BLOCKING)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: Any) -> None:
        """As `Cuda.destroy_stream`: pycuda does so with the object, if its context is then current."""
        with self._told("end a stream"):
            del self._streams[stream]

    def handle(self, stream: Any) -> int:
        """As `Cuda.handle`."""
        return int(stream)

    def upload(self, address: int, host: npt.NDArray[Any], stream: Any) -> None:
        """As `Cuda.upload`."""
        with self._told("copy"):
            self._driver.memcpy_htod_async(address, host, self._streams[stream])

    def download(self, host: npt.NDArray[Any], address: int, stream: Any) -> None:
        """As `Cuda.download`."""
        with self._told("copy"):
            self._driver.memcpy_dtoh_async(host, address, self._streams[stream])

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """As `Cuda.copy`."""
        with self._told("copy"):
            self._driver.memcpy_dtod_async(target, source, size, self._streams[stream])

    def synchronize(self, stream: Any) -> None:
        """As `Cuda.synchronize`."""
        with self._told("run the graph"):
            self._streams[stream].synchronize()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn pycuda's errors into ours."""
        try:
            yield
        except self._driver.Error as error:
            raise BackendError(f"CUDA could not {what}: {one_line(error)}") from error
