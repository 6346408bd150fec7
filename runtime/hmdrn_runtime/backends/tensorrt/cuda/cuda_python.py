# ruff: noqa: D102 - `Cuda` documents the methods
"""CUDA through NVIDIA's cuda-python: the runtime API, in a context that the driver API makes current."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.errors import BackendError

_DEVICE = 0


class CudaPython(Cuda):
    """cuda-python 12 and 13 (`cuda.bindings`), or 11 (`cuda.cudart` and `cuda.cuda`).

    The runtime's own cudaSetDevice would replace the context that the caller has made current, which may be
    another one.

    Raises:
        BackendError: The package cannot be imported, or finds no device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._driver, self._cudart = _import()
        # First, because the driver API raises arbitrary exceptions without a driver.
        self._check("find a device", self._cudart.cudaGetDeviceCount())
        driver = self._driver
        self._check_driver("start", driver.cuInit(0))
        (device,) = self._check_driver("find a device", driver.cuDeviceGet(_DEVICE))
        # Never released, as in the runtime: any other library of the process may hold memory in it.
        (self._context,) = self._check_driver("use its device", driver.cuDevicePrimaryCtxRetain(device))

    @contextmanager
    def current(self) -> Iterator[None]:
        self._check_driver("use its device", self._driver.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            self._check_driver("restore the previous context", self._driver.cuCtxPopCurrent())

    def allocate(self, size: int) -> int:
        (address,) = self._check(f"allocate {_mib(size)} on the device", self._cudart.cudaMalloc(size))
        return int(address)

    def free(self, address: int) -> None:
        self._check("free memory", self._cudart.cudaFree(address))

    def allocate_pinned(self, size: int) -> int:
        (address,) = self._check(f"lock {_mib(size)} of the host", self._cudart.cudaMallocHost(size))
        return int(address)

    def free_pinned(self, address: int) -> None:
        self._check("free locked memory", self._cudart.cudaFreeHost(address))

    def create_stream(self) -> int:
        flags = self._cudart.cudaStreamNonBlocking
        (stream,) = self._check("create a stream", self._cudart.cudaStreamCreateWithFlags(flags))
        return int(stream)

    def destroy_stream(self, stream: int) -> None:
        self._check("destroy a stream", self._cudart.cudaStreamDestroy(stream))

    def upload(self, address: int, host: npt.NDArray[Any], stream: int) -> None:
        self._copy(address, host.ctypes.data, host.nbytes, "cudaMemcpyHostToDevice", stream)

    def download(self, host: npt.NDArray[Any], address: int, stream: int) -> None:
        self._copy(host.ctypes.data, address, host.nbytes, "cudaMemcpyDeviceToHost", stream)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        self._copy(target, source, size, "cudaMemcpyDeviceToDevice", stream)

    def synchronize(self, stream: int) -> None:
        self._check("run the graph", self._cudart.cudaStreamSynchronize(stream))

    def launch(self, graph: Any, stream: int) -> None:
        self._check("launch a graph", self._cudart.cudaGraphLaunch(graph, stream))

    def destroy_graph(self, graph: Any) -> None:
        self._check("free a graph", self._cudart.cudaGraphExecDestroy(graph))

    def _capture(self, stream: int, work: Callable[[], None]) -> Any | None:
        # Of this thread alone: others may allocate memory in the meantime.
        mode = self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._check("capture", self._cudart.cudaStreamBeginCapture(stream, mode))
        try:
            work()
        except BaseException:
            # A capture must be ended, even a failed one, or the stream stays unusable.
            self._discard(self._cudart.cudaStreamEndCapture(stream))
            raise
        ended = self._cudart.cudaStreamEndCapture(stream)
        try:
            (graph,) = self._check("end a capture", ended)
        except BackendError:
            self._discard(ended)
            raise
        try:
            instantiated = self._cudart.cudaGraphInstantiateWithFlags(graph, 0)
            (executable,) = self._check("make a graph executable", instantiated)
        finally:
            self._check("free a graph", self._cudart.cudaGraphDestroy(graph))
        return executable

    def _discard(self, ended: tuple[Any, ...]) -> None:
        """Remove the graph and the error of a capture that failed."""
        _, *graph = ended
        if graph and graph[0] is not None and int(graph[0]):
            self._cudart.cudaGraphDestroy(graph[0])
        self._cudart.cudaGetLastError()  # clears it: TensorRT asks for the last error too

    def _copy(self, target: int, source: int, size: int, kind: str, stream: int) -> None:
        direction = getattr(self._cudart.cudaMemcpyKind, kind)
        self._check("copy", self._cudart.cudaMemcpyAsync(target, source, size, direction, stream))

    def _check(self, action: str, result: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the values of a call without its error code."""
        code, *values = result
        if code != self._cudart.cudaError_t.cudaSuccess:
            self._cudart.cudaGetLastError()  # clears it: reported now, it must not be reported again
            text = self._cudart.cudaGetErrorString(code)[1]
            raise BackendError(f"CUDA could not {action}: {_decode(text)} ({code.name})")
        return tuple(values)

    def _check_driver(self, action: str, result: tuple[Any, ...]) -> tuple[Any, ...]:
        """As `_check`, for the driver API."""
        code, *values = result
        if code != self._driver.CUresult.CUDA_SUCCESS:
            text = self._driver.cuGetErrorString(code)[1]
            raise BackendError(f"CUDA could not {action}: {_decode(text)} ({code.name})")
        return tuple(values)


def _import() -> tuple[Any, Any]:
    """Import the driver API and the runtime API."""
    for driver, runtime in (("cuda.bindings.driver", "cuda.bindings.runtime"), ("cuda.cuda", "cuda.cudart")):
        try:
            return importlib.import_module(driver), importlib.import_module(runtime)
        except ImportError:
            continue
    raise BackendError("cuda-python cannot be imported: install a version that fits the driver")


def _decode(text: Any) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
