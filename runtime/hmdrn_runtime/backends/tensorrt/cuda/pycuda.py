# ruff: noqa: D102 - `Cuda` documents the methods
"""CUDA through pycuda, without its `autoinit`, which would make a context of its own."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.messages import format_error

_DEVICE = 0
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which has no name in pycuda


class PyCuda(Cuda):
    """pycuda, as it is built on JetPack. It captures no CUDA graphs: every frame runs step by step.

    Raises:
        BackendError: The package cannot be imported, or finds no device.
    """

    package = "pycuda"

    def __init__(self) -> None:
        super().__init__()
        try:
            self._driver: Any = importlib.import_module("pycuda.driver")
        except Exception as error:  # its libraries raise arbitrary exceptions
            raise BackendError(f"pycuda cannot be imported: {format_error(error)}") from error
        self._call("find a device", self._driver.init)
        device = self._call("find a device", self._driver.Device, _DEVICE)
        self._context = self._call("use its device", device.retain_primary_context)
        # When collected, even at exit, it would detach the primary context, which other libraries use: one
        # reference is never given back.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._context))
        # pycuda frees an object with its last reference: these dictionaries hold one each.
        self._allocated: dict[int, Any] = {}
        self._pinned: dict[int, npt.NDArray[np.uint8]] = {}
        self._streams: dict[int, Any] = {}

    @contextmanager
    def current(self) -> Iterator[None]:
        self._call("use its device", self._context.push)
        try:
            yield
        finally:
            self._pop()

    def allocate(self, size: int) -> int:
        action = f"allocate {size / 2**20:.1f} MiB on the device"
        allocation = self._call(action, self._driver.mem_alloc, size)
        self._allocated[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        self._call("free memory", self._allocated.pop(address).free)

    def allocate_pinned(self, size: int) -> int:
        action = f"lock {size / 2**20:.1f} MiB of the host"
        array = self._call(action, self._driver.pagelocked_empty, size, np.uint8)
        self._pinned[array.ctypes.data] = array
        return int(array.ctypes.data)

    def free_pinned(self, address: int) -> None:
        del self._pinned[address]

    def create_stream(self) -> int:
        stream = self._call("create a stream", self._driver.Stream, _NON_BLOCKING)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        del self._streams[stream]  # pycuda destroys it with the object, if its context is then current

    def upload(self, address: int, host: npt.NDArray[Any], stream: int) -> None:
        self._call("copy", self._driver.memcpy_htod_async, address, host, self._streams[stream])

    def download(self, host: npt.NDArray[Any], address: int, stream: int) -> None:
        self._call("copy", self._driver.memcpy_dtoh_async, host, address, self._streams[stream])

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        self._call("copy", self._driver.memcpy_dtod_async, target, source, size, self._streams[stream])

    def synchronize(self, stream: int) -> None:
        self._call("run the graph", self._streams[stream].synchronize)

    def _pop(self) -> None:
        try:
            self._call("restore the previous context", self._driver.Context.pop)
        except BackendError:
            # pycuda aborts the process when a thread ends with a context that it takes for current. Detached,
            # this one counts no more, and is of no more use: the device is lost.
            with contextlib.suppress(self._driver.Error):
                self._context.detach()
            raise

    def _call(self, action: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of pycuda's, and raise its errors as BackendError."""
        try:
            return function(*arguments)
        except self._driver.Error as error:
            raise BackendError(f"CUDA could not {action}: {format_error(error)}") from error
