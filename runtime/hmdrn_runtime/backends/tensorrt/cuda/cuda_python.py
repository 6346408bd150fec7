"""Device memory through NVIDIA's cuda-python: the runtime API, in a context that the driver API pushes."""

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

    The runtime's own cudaSetDevice would put the primary context in the place of the one that the caller has
    made current, which may be another.

    Raises:
        BackendError: The package cannot be imported, or finds no device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._driver, self._cudart = _import()
        # First, as the driver API raises what it likes where there is no driver.
        self._check("find a device", self._cudart.cudaGetDeviceCount())
        driver = self._driver
        self._check_driver("start", driver.cuInit(0))
        (device,) = self._check_driver("find a device", driver.cuDeviceGet(_DEVICE))
        # Kept for good, as the runtime keeps it: whatever else is in the process may hold memory of it.
        (self._context,) = self._check_driver("use its device", driver.cuDevicePrimaryCtxRetain(device))

    @contextmanager
    def current(self) -> Iterator[None]:
        """As `Cuda.current`."""
        self._check_driver("use its device", self._driver.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            self._check_driver("use the context before", self._driver.cuCtxPopCurrent())

    def allocate(self, size: int) -> int:
        """As `Cuda.allocate`."""
        (address,) = self._check(f"allocate {_mib(size)} on the device", self._cudart.cudaMalloc(size))
        return int(address)

    def free(self, address: int) -> None:
        """As `Cuda.free`."""
        self._check("free memory", self._cudart.cudaFree(address))

    def allocate_pinned(self, size: int) -> int:
        """As `Cuda.allocate_pinned`."""
        (address,) = self._check(f"lock {_mib(size)} of the host", self._cudart.cudaMallocHost(size))
        return int(address)

    def free_pinned(self, address: int) -> None:
        """As `Cuda.free_pinned`."""
        self._check("free locked memory", self._cudart.cudaFreeHost(address))

    def create_stream(self) -> Any:
        """As `Cuda.create_stream`."""
        flags = self._cudart.cudaStreamNonBlocking
        (stream,) = self._check("make a stream", self._cudart.cudaStreamCreateWithFlags(flags))
        return stream

    def destroy_stream(self, stream: Any) -> None:
        """As `Cuda.destroy_stream`."""
        self._check("end a stream", self._cudart.cudaStreamDestroy(stream))

    def handle(self, stream: Any) -> int:
        """As `Cuda.handle`."""
        return int(stream)

    def upload(self, address: int, host: npt.NDArray[Any], stream: Any) -> None:
        """As `Cuda.upload`."""
        self._copy(address, host.ctypes.data, host.nbytes, "cudaMemcpyHostToDevice", stream)

    def download(self, host: npt.NDArray[Any], address: int, stream: Any) -> None:
        """As `Cuda.download`."""
        self._copy(host.ctypes.data, address, host.nbytes, "cudaMemcpyDeviceToHost", stream)

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """As `Cuda.copy`."""
        self._copy(target, source, size, "cudaMemcpyDeviceToDevice", stream)

    def synchronize(self, stream: Any) -> None:
        """As `Cuda.synchronize`."""
        self._check("run the graph", self._cudart.cudaStreamSynchronize(stream))

    def _capture(self, stream: Any, work: Callable[[], None]) -> Any | None:
        """As `Cuda._capture`."""
        # Of this thread alone: others may allocate memory in the meantime.
        mode = self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._check("capture", self._cudart.cudaStreamBeginCapture(stream, mode))
        try:
            work()
        except BaseException:
            # The stream would be of no more use without the end of the capture, which gives what there is.
            self._discard(self._cudart.cudaStreamEndCapture(stream))
            raise
        ended = self._cudart.cudaStreamEndCapture(stream)
        try:
            (graph,) = self._check("end a capture", ended)
        except BackendError:
            self._discard(ended)
            raise
        try:
            (runnable,) = self._check(
                "make a graph runnable", self._cudart.cudaGraphInstantiateWithFlags(graph, 0)
            )
        finally:
            self._check("free a graph", self._cudart.cudaGraphDestroy(graph))
        return runnable

    def launch(self, graph: Any, stream: Any) -> None:
        """As `Cuda.launch`."""
        self._check("launch a graph", self._cudart.cudaGraphLaunch(graph, stream))

    def destroy_graph(self, graph: Any) -> None:
        """As `Cuda.destroy_graph`."""
        self._check("free a graph", self._cudart.cudaGraphExecDestroy(graph))

    def _discard(self, ended: tuple[Any, ...]) -> None:
        """Leave nothing of a capture that failed, neither its graph nor its error."""
        _, *graph = ended
        if graph and graph[0] is not None and int(graph[0]):
            self._cudart.cudaGraphDestroy(graph[0])
        self._cudart.cudaGetLastError()  # which forgets it: TensorRT asks for the last error too

    def _copy(self, target: int, source: int, size: int, kind: str, stream: Any) -> None:
        direction = getattr(self._cudart.cudaMemcpyKind, kind)
        self._check("copy", self._cudart.cudaMemcpyAsync(target, source, size, direction, stream))

    def _check(self, what: str, result: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a call returned besides its error code."""
        code, *values = result
        if code != self._cudart.cudaError_t.cudaSuccess:
            self._cudart.cudaGetLastError()  # told now, and not once more by the next who asks
            text = self._cudart.cudaGetErrorString(code)[1]
            raise BackendError(f"CUDA could not {what}: {_text(text)} ({code.name})")
        return tuple(values)

    def _check_driver(self, what: str, result: tuple[Any, ...]) -> tuple[Any, ...]:
        """As `_check`, of the driver API."""
        code, *values = result
        if code != self._driver.CUresult.CUDA_SUCCESS:
            text = self._driver.cuGetErrorString(code)[1]
            raise BackendError(f"CUDA could not {what}: {_text(text)} ({code.name})")
        return tuple(values)


def _import() -> tuple[Any, Any]:
    """The driver API and the runtime API."""
    for driver, runtime in (("cuda.bindings.driver", "cuda.bindings.runtime"), ("cuda.cuda", "cuda.cudart")):
        try:
            return importlib.import_module(driver), importlib.import_module(runtime)
        except ImportError:
            continue
    raise BackendError("cuda-python cannot be imported: install one that fits the driver")


def _text(words: Any) -> str:
    return words.decode(errors="replace") if isinstance(words, bytes) else str(words)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
