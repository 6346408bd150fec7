# ruff: noqa: D102 - `Cuda` documents the methods
"""CUDA through the driver API of NVIDIA's cuda-python."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from hmdrn_runtime.backends.cuda_driver import find_missing_functions
from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.messages import format_error

_DEVICE = 0
_GRAPH_FUNCTIONS = (
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
)


class CudaPython(Cuda):
    """cuda-python (its package cuda-bindings) 12 and 13, or 11 in its older layout.

    The driver API alone serves drivers that are older than the package. The runtime API does not: its library
    is part of the package, and needs a driver as new as itself.

    Raises:
        BackendError: The package cannot be imported, or finds no driver or device.
    """

    package = "cuda-python"

    def __init__(self) -> None:
        super().__init__()
        self._driver = _import_driver()
        self._call("start", "cuInit", 0)
        (device,) = self._call("find a device", "cuDeviceGet", _DEVICE)
        # Never released: any other library of the process may hold memory in it.
        (self._context,) = self._call("use its device", "cuDevicePrimaryCtxRetain", device)
        self.captures_graphs = not find_missing_functions(_GRAPH_FUNCTIONS)

    @contextmanager
    def current(self) -> Iterator[None]:
        self._call("use its device", "cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._call("restore the previous context", "cuCtxPopCurrent")

    def allocate(self, size: int) -> int:
        (address,) = self._call(f"allocate {_mib(size)} on the device", "cuMemAlloc", size)
        return int(address)

    def free(self, address: int) -> None:
        self._call("free memory", "cuMemFree", address)

    def allocate_pinned(self, size: int) -> int:
        (address,) = self._call(f"lock {_mib(size)} of the host", "cuMemHostAlloc", size, 0)
        return int(address)

    def free_pinned(self, address: int) -> None:
        self._call("free locked memory", "cuMemFreeHost", address)

    def create_stream(self) -> int:
        flags = int(self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        (stream,) = self._call("create a stream", "cuStreamCreate", flags)
        return int(stream)

    def destroy_stream(self, stream: int) -> None:
        self._call("destroy a stream", "cuStreamDestroy", stream)

    def upload(self, address: int, host: npt.NDArray[Any], stream: int) -> None:
        self._call("copy", "cuMemcpyHtoDAsync", address, host.ctypes.data, host.nbytes, stream)

    def download(self, host: npt.NDArray[Any], address: int, stream: int) -> None:
        self._call("copy", "cuMemcpyDtoHAsync", host.ctypes.data, address, host.nbytes, stream)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        self._call("copy", "cuMemcpyDtoDAsync", target, source, size, stream)

    def synchronize(self, stream: int) -> None:
        self._call("run the graph", "cuStreamSynchronize", stream)

    def launch(self, graph: Any, stream: int) -> None:
        self._call("launch a graph", "cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        self._call("free a graph", "cuGraphExecDestroy", graph)

    def _capture(self, stream: int, work: Callable[[], None]) -> Any | None:
        if not self.captures_graphs:
            return None
        # Of this thread alone: others may allocate memory in the meantime.
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("capture", "cuStreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            # A capture must be ended, even a failed one, or the stream stays unusable.
            self._discard_capture(stream)
            raise
        (graph,) = self._call("end a capture", "cuStreamEndCapture", stream)
        # Version 11 has two functions of this kind; from 12 on the short name is the one with flags.
        short = "cuGraphInstantiate"
        instantiate = f"{short}WithFlags" if hasattr(self._driver, f"{short}WithFlags") else short
        try:
            (executable,) = self._call("make a graph executable", instantiate, graph, 0)
        finally:
            self._call("free a graph", "cuGraphDestroy", graph)
        return executable

    def _discard_capture(self, stream: int) -> None:
        """End a capture that failed, and destroy its graph if it has one."""
        _, graph = self._driver.cuStreamEndCapture(stream)
        if graph is not None and int(graph):
            self._driver.cuGraphDestroy(graph)

    def _call(self, action: str, function: str, *arguments: Any) -> tuple[Any, ...]:
        """Call a function of the driver, and return its values without the error code."""
        try:
            code, *values = getattr(self._driver, function)(*arguments)
        except RuntimeError as error:  # without a driver, and for a function that the driver does not have
            raise BackendError(f"CUDA could not {action}: {format_error(error)}") from error
        if code != self._driver.CUresult.CUDA_SUCCESS:
            text = self._driver.cuGetErrorString(code)[1] or b"unknown error"
            raise BackendError(f"CUDA could not {action}: {text.decode(errors='replace')} ({code.name})")
        return tuple(values)


def _import_driver() -> Any:
    try:
        return importlib.import_module("cuda.bindings.driver")
    except ModuleNotFoundError:
        pass
    except Exception as error:  # its libraries raise arbitrary exceptions
        raise BackendError(f"cuda-python cannot be imported: {format_error(error)}") from error
    try:
        return importlib.import_module("cuda.cuda")
    except Exception as error:
        raise BackendError(f"cuda-python cannot be imported: {format_error(error)}") from error


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
