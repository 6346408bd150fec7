"""The two implementations of device memory, over stand-ins for the packages that call the driver."""

from __future__ import annotations

import ctypes
import gc
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from hmdrn_runtime.backends.tensorrt.cuda import cuda_python, find
from hmdrn_runtime.backends.tensorrt.cuda import pycuda as with_pycuda
from hmdrn_runtime.backends.tensorrt.cuda.base import DeviceBuffer, PinnedBuffer, Stream
from hmdrn_runtime.backends.tensorrt.cuda.cuda_python import CudaPython
from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda
from hmdrn_runtime.backends.tensorrt.cuda.pycuda import PyCuda
from hmdrn_runtime.errors import BackendError

OK, OUT_OF_MEMORY = SimpleNamespace(name="cudaSuccess"), SimpleNamespace(name="cudaErrorMemoryAllocation")
INVALIDATED = SimpleNamespace(name="cudaErrorStreamCaptureInvalidated")


class Contexts:
    """What is current in a thread: a stack, as the driver keeps it."""

    def __init__(self):
        self.stack = []

    def current(self):
        return self.stack[-1] if self.stack else None


class CudaDriver:
    """cuda-python's driver."""

    def __init__(self, contexts):
        self.contexts, self.refusal = contexts, None
        self.CUresult = SimpleNamespace(CUDA_SUCCESS=0)

    def cuInit(self, flags):
        return (self.refusal or 0,)

    def cuDeviceGet(self, number):
        return 0, f"device {number}"

    def cuDevicePrimaryCtxRetain(self, device):
        return 0, f"primary of {device}"

    def cuCtxPushCurrent(self, context):
        self.contexts.stack.append(context)
        return (0,)

    def cuCtxPopCurrent(self):
        return 0, self.contexts.stack.pop()

    def cuGetErrorString(self, code):
        return 0, b"the system is not yet initialized"


class Cudart:
    """cuda-python's runtime: every call gives a tuple that begins with its error.

    Calls work in the context that is current, and make the primary one current in a thread that has none.
    `graphs` are those that nobody has destroyed, `last` is the error that cudaGetLastError would tell.
    """

    def __init__(self, contexts):
        self.contexts, self.calls, self.most, self.held = contexts, [], 1 << 20, {}
        self.graphs, self.last, self.spoiled = set(), OK, None
        self.cudaError_t = SimpleNamespace(cudaSuccess=OK)
        self.cudaStreamNonBlocking = 1
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread")
        kinds = ("cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost", "cudaMemcpyDeviceToDevice")
        self.cudaMemcpyKind = SimpleNamespace(**{kind: kind for kind in kinds})
        self.cudaMallocHost, self.cudaFreeHost = self.cudaMalloc, self.cudaFree

    def settle(self):
        if not self.contexts.stack:
            self.contexts.stack.append("primary of device 0")
        assert self.contexts.current() == "primary of device 0", "in another context"

    def cudaGetDeviceCount(self):
        return OK, 1

    def __getattr__(self, name):
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments):
            self.settle()
            self.calls.append((name, *arguments))
            return (OK, 77) if name.endswith("Flags") else (OK,)

        return call

    def failed(self, code):
        self.last = code
        return code, None

    def cudaGetLastError(self):
        code, self.last = self.last, OK
        return (code,)

    def cudaStreamBeginCapture(self, stream, mode):
        assert mode == "thread"
        self.spoiled = False
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        spoiled, self.spoiled = self.spoiled, None
        if spoiled:
            return self.failed(INVALIDATED)
        self.graphs.add(number := 100 + len(self.graphs))
        return OK, number

    def cudaGraphDestroy(self, graph):
        self.graphs.remove(graph)
        return (OK,)

    def cudaGetErrorString(self, code):
        return OK, b"out of memory"

    def cudaMalloc(self, size):
        self.settle()
        if size > self.most:
            return self.failed(OUT_OF_MEMORY)
        data = (ctypes.c_uint8 * size)()
        self.held[ctypes.addressof(data)] = data
        return OK, ctypes.addressof(data)

    def cudaFree(self, address):
        self.settle()
        if self.spoiled is not None:
            self.spoiled = True
            return self.failed(INVALIDATED)
        del self.held[address]
        return (OK,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        self.calls.append(("cudaMemcpyAsync", kind))
        ctypes.memmove(target, source, size)
        return (OK,)


class Driver:
    """pycuda.driver."""

    class Error(Exception):
        pass

    def __init__(self):
        self.stack, self.free, self.streams, driver = [], [], set(), self

        class Context:
            def push(self):
                driver.stack.append(self)

            @staticmethod
            def pop():
                driver.stack.pop()

        class Device:
            def __init__(self, number):
                assert number == 0

            def retain_primary_context(self):
                return Context()

        class Allocation:
            def __init__(self, size):
                if size > 1 << 20:
                    raise Driver.Error("cuMemAlloc failed: out of memory")
                assert driver.stack, "no context is current"
                self.data = (ctypes.c_uint8 * size)()

            def __int__(self):
                return ctypes.addressof(self.data)

            def free(self):
                assert driver.stack, "no context is current"
                driver.free.append(int(self))

        class Stream:
            def __init__(self, flags):
                assert driver.stack, "no context is current"
                assert flags == 1
                self.handle = 70 + len(driver.streams)
                driver.streams.add(self.handle)

            def synchronize(self):
                pass

            def __del__(self):
                if driver.stack:  # else pycuda cannot end it, and it leaks
                    driver.streams.remove(self.handle)

        self.Context, self.Device, self.mem_alloc, self.Stream = Context, Device, Allocation, Stream

    def init(self):
        pass

    def pagelocked_empty(self, size, dtype):
        return np.empty(size, dtype)

    def memcpy_htod_async(self, target, source, stream):
        ctypes.memmove(target, source.ctypes.data, source.nbytes)

    def memcpy_dtoh_async(self, target, source, stream):
        ctypes.memmove(target.ctypes.data, source, target.nbytes)

    def memcpy_dtod_async(self, target, source, size, stream):
        ctypes.memmove(target, source, size)


@pytest.fixture
def cudart(monkeypatch):
    contexts = Contexts()
    module = Cudart(contexts)
    module.driver = CudaDriver(contexts)
    monkeypatch.setattr(cuda_python, "_import", lambda: (module.driver, module))
    return module


@pytest.fixture
def driver(monkeypatch):
    module = Driver()
    monkeypatch.setattr(with_pycuda.importlib, "import_module", {"pycuda.driver": module}.__getitem__)
    return module


@pytest.fixture(params=["cudart", "driver"])
def cuda(request):
    module = request.getfixturevalue(request.param)
    return CudaPython() if isinstance(module, Cudart) else PyCuda()


def test_what_is_uploaded_and_copied_on_the_device_comes_back(cuda):
    array = np.arange(12, dtype=np.float32)
    with cuda.current():
        stream = cuda.create_stream()
        one, other = DeviceBuffer(cuda, array.nbytes), DeviceBuffer(cuda, array.nbytes)
        host = PinnedBuffer(cuda, array.nbytes)
        cuda.upload(one.address, array, stream)
        cuda.copy(other.address, one.address, array.nbytes, stream)
        cuda.download(host.bytes, other.address, stream)
        cuda.synchronize(stream)
        np.testing.assert_array_equal(host.bytes.view(np.float32), array)


def test_memory_that_is_not_to_be_had_is_told_with_cudas_words(cuda):
    with cuda.current(), pytest.raises(BackendError, match=r"could not allocate 2.0 MiB .*out of memory"):
        DeviceBuffer(cuda, 2 << 20)


@pytest.mark.parametrize("before", [[], ["pycuda's context"]])
def test_cuda_python_leaves_whatever_context_was_current_before(cudart, before):
    stack = cudart.contexts.stack
    stack += before
    cuda = CudaPython()
    assert stack == before
    with cuda.current():
        assert cudart.contexts.current() == "primary of device 0"
        buffers = [DeviceBuffer(cuda, 16), PinnedBuffer(cuda, 16)]
        stream = Stream(cuda)
    assert stack == before
    assert len(cudart.held) == 2
    with pytest.raises(BackendError, match="out of memory"), cuda.current():
        DeviceBuffer(cuda, 2 << 20)
    assert stack == before
    del buffers, stream
    gc.collect()
    assert cudart.held == {}
    assert cudart.calls[-1] == ("cudaStreamDestroy", 77)
    assert stack == before


def test_what_cudas_driver_refuses_is_told_with_its_words(cudart):
    cudart.driver.refusal = SimpleNamespace(name="CUDA_ERROR_SYSTEM_NOT_READY")
    with pytest.raises(
        BackendError, match=r"not start: the system is not yet .*\(CUDA_ERROR_SYSTEM_NOT_READY"
    ):
        CudaPython()


def test_a_capture_that_fails_leaves_neither_a_graph_nor_an_error_behind(cudart):
    cuda = CudaPython()

    def refused():
        cudart.last = INVALIDATED  # TensorRT's, which it does not take back
        raise BackendError("no")

    with cuda.current(), pytest.raises(BackendError, match="no"):
        cuda.capture("stream", refused)
    assert (cudart.spoiled, cudart.graphs, cudart.last) == (None, set(), OK)

    def spoilt():
        cudart.spoiled = True

    with cuda.current(), pytest.raises(BackendError, match=r"end a capture.*StreamCaptureInvalidated"):
        cuda.capture("stream", spoilt)
    assert (cudart.graphs, cudart.last) == (set(), OK)


def test_a_capture_gives_what_runs_and_destroys_what_it_was_made_of(cudart):
    cuda = CudaPython()
    with cuda.current():
        assert cuda.capture("stream", lambda: None) == 77
    assert (cudart.graphs, cudart.spoiled) == (set(), None)
    assert ("cudaGraphInstantiateWithFlags", 100, 0) in cudart.calls


def test_an_error_that_was_told_is_not_told_once_more_by_the_next_call(cudart):
    cuda = CudaPython()
    with cuda.current(), pytest.raises(BackendError, match="out of memory"):
        DeviceBuffer(cuda, 2 << 20)
    assert cudart.last == OK


def test_what_is_collected_inside_a_capture_is_freed_after_it(cudart):
    cuda = CudaPython()
    with cuda.current():
        buffers = [DeviceBuffer(cuda, 16), PinnedBuffer(cuda, 16)]

        def collect():
            buffers.clear()
            gc.collect()
            assert len(cudart.held) == 2

        assert cuda.capture("stream", collect) == 77
    assert cudart.held == {}


def test_pycuda_pops_its_context_whatever_happens_and_makes_none_of_its_own(driver):
    cuda = PyCuda()
    assert driver.stack == []
    with pytest.raises(ZeroDivisionError), cuda.current():
        len(driver.stack) // (len(driver.stack) - 1)
    with cuda.current():
        buffer = DeviceBuffer(cuda, 16)
        address = buffer.address
    assert driver.stack == []
    del buffer
    gc.collect()
    assert driver.free == [address]
    assert driver.stack == []
    assert "pycuda.autoinit" not in sys.modules


def test_a_pycuda_stream_ends_in_its_context_whoever_gives_it_back(driver):
    cuda = PyCuda()
    with cuda.current():
        stream = Stream(cuda)
    assert driver.streams == {cuda.handle(stream.stream)}
    del stream
    gc.collect()
    assert driver.streams == set()


def test_the_package_that_is_installed_is_taken_cuda_python_first(monkeypatch):
    for there, kind in (
        ({"cuda.bindings.runtime", "pycuda.driver"}, CudaPython),
        ({"cuda.cudart"}, CudaPython),
        ({"pycuda.driver"}, PyCuda),
    ):
        monkeypatch.setattr(find, "_installed", there.__contains__)
        assert find_cuda() is kind
    monkeypatch.setattr(find, "_installed", lambda name: False)
    with pytest.raises(BackendError, match="neither cuda-python nor pycuda is installed"):
        find_cuda()


def test_the_real_cuda_python_says_what_the_driver_lacks():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    error, count = runtime.cudaGetDeviceCount()
    if error == runtime.cudaError_t.cudaSuccess and count:
        pytest.skip("this machine has a GPU")
    with pytest.raises(BackendError, match=r"CUDA could not find a device: .*\(cudaError"):
        CudaPython()


@pytest.mark.gpu
def test_memory_of_a_real_device_keeps_what_it_is_given():
    try:
        cuda = find_cuda()()
    except BackendError as error:
        pytest.skip(str(error))
    array = np.arange(1000, dtype=np.float32)
    with cuda.current():
        stream = cuda.create_stream()
        buffer, host = DeviceBuffer(cuda, array.nbytes), PinnedBuffer(cuda, array.nbytes)
        assert buffer.address % 256 == 0
        cuda.upload(buffer.address, array, stream)
        cuda.download(host.bytes, buffer.address, stream)
        cuda.synchronize(stream)
        np.testing.assert_array_equal(host.bytes.view(np.float32), array)
