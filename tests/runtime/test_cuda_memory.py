"""The two implementations of device memory, over stand-ins for the packages that call the driver."""

from __future__ import annotations

import ctypes
import gc
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from hmdrn_runtime.backends.tensorrt import cuda_python, memory, with_pycuda
from hmdrn_runtime.backends.tensorrt.cuda_python import CudaPython
from hmdrn_runtime.backends.tensorrt.memory import DeviceBuffer, PinnedBuffer, find_cuda
from hmdrn_runtime.backends.tensorrt.with_pycuda import PyCuda
from hmdrn_runtime.errors import BackendError

OK, OUT_OF_MEMORY = SimpleNamespace(name="cudaSuccess"), SimpleNamespace(name="cudaErrorMemoryAllocation")
INVALIDATED = SimpleNamespace(name="cudaErrorStreamCaptureInvalidated")


class Cudart:
    """cuda-python's runtime: every call gives a tuple that begins with its error.

    `graphs` are those that nobody has destroyed, `last` is the error that cudaGetLastError would tell.
    """

    def __init__(self):
        self.device, self.calls, self.most, self.held = 3, [], 1 << 20, {}
        self.graphs, self.last, self.spoiled = set(), OK, None
        self.cudaError_t = SimpleNamespace(cudaSuccess=OK)
        self.cudaStreamNonBlocking = 1
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread")
        kinds = ("cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost", "cudaMemcpyDeviceToDevice")
        self.cudaMemcpyKind = SimpleNamespace(**{kind: kind for kind in kinds})
        self.cudaMallocHost, self.cudaFreeHost = self.cudaMalloc, self.cudaFree

    def __getattr__(self, name):
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments):
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

    def cudaGetDevice(self):
        return OK, self.device

    def cudaSetDevice(self, device):
        self.device = device
        return (OK,)

    def cudaMalloc(self, size):
        if size > self.most:
            return self.failed(OUT_OF_MEMORY)
        data = (ctypes.c_uint8 * size)()
        self.held[ctypes.addressof(data)] = data
        return OK, ctypes.addressof(data)

    def cudaFree(self, address):
        assert self.device == 0, "freed on another device"
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
        self.stack, self.free, driver = [], [], self

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

        self.Context, self.Device, self.mem_alloc = Context, Device, Allocation

    def init(self):
        pass

    def Stream(self, flags):
        return SimpleNamespace(handle=77, flags=flags, synchronize=lambda: None)

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
    module = Cudart()
    monkeypatch.setattr(cuda_python, "_import", lambda: module)
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


def test_cuda_python_frees_on_its_device_and_leaves_the_one_before(cudart):
    cuda = CudaPython()
    cudart.device = 3
    with cuda.current():
        assert cudart.device == 0
        buffers = [DeviceBuffer(cuda, 16), PinnedBuffer(cuda, 16)]
    assert cudart.device == 3
    assert len(cudart.held) == 2
    del buffers
    gc.collect()
    assert cudart.held == {}
    assert cudart.device == 3


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


def test_the_package_that_is_installed_is_taken_cuda_python_first(monkeypatch):
    for there, kind in (
        ({"cuda.bindings.runtime", "pycuda.driver"}, CudaPython),
        ({"cuda.cudart"}, CudaPython),
        ({"pycuda.driver"}, PyCuda),
    ):
        monkeypatch.setattr(memory, "_installed", there.__contains__)
        assert find_cuda() is kind
    monkeypatch.setattr(memory, "_installed", lambda name: False)
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
