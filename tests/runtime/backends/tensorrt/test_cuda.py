"""The choice of a CUDA package, and a real device where there is one; `test_over_driver` has the adapters."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hmdrn_runtime.backends import cuda_driver
from hmdrn_runtime.backends.tensorrt.cuda import find
from hmdrn_runtime.backends.tensorrt.cuda.base import CapturedGraph, DeviceBuffer, PinnedBuffer, Stream
from hmdrn_runtime.backends.tensorrt.cuda.cuda_python import CudaPython
from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda, open_cuda
from hmdrn_runtime.backends.tensorrt.cuda.pycuda import PyCuda
from hmdrn_runtime.errors import BackendError


@pytest.mark.parametrize(
    ("installed", "kinds"),
    [
        ({"cuda.bindings.driver", "pycuda.driver"}, (CudaPython, PyCuda)),
        ({"cuda.cuda"}, (CudaPython,)),
        ({"pycuda.driver"}, (PyCuda,)),
    ],
)
def test_installed_packages_are_found_cuda_python_first(monkeypatch, installed, kinds):
    monkeypatch.setattr(find, "is_installed", installed.__contains__)
    assert find_cuda() == kinds


def test_without_a_package_the_extras_are_named(monkeypatch):
    monkeypatch.setattr(find, "is_installed", lambda name: False)
    with pytest.raises(BackendError, match=r"neither cuda-python nor pycuda is installed: .*cuda13.*cuda12"):
        find_cuda()


class Refusing:
    package = "cuda-python"

    def __init__(self):
        raise BackendError("CUDA could not start: no")


class Starting:
    package = "pycuda"


def test_a_package_that_does_not_start_gives_way_to_the_next():
    assert isinstance(open_cuda([Refusing, Starting]), Starting)
    assert isinstance(open_cuda([Starting, Refusing]), Starting)


def test_the_reason_of_every_package_that_does_not_start_is_given():
    with pytest.raises(
        BackendError, match=r"cuda-python: CUDA could not start: no; cuda-python: CUDA could not"
    ):
        open_cuda([Refusing, Refusing])


@pytest.mark.parametrize("status", [0, 801])
def test_threads_sleep_while_they_wait_if_the_environment_says_so(monkeypatch, status):
    calls = []
    driver = SimpleNamespace(
        cuInit=lambda flags: 0,
        cuDevicePrimaryCtxSetFlags_v2=lambda device, flags: calls.append((device, flags)) or status,
    )
    monkeypatch.setattr(cuda_driver, "_load_driver", lambda: driver)
    open_cuda([Starting])
    assert calls == []
    monkeypatch.setenv("HMDRN_BLOCKING_SYNC", "1")
    if status:
        with pytest.raises(BackendError, match="CUDA error 801"):
            open_cuda([Starting])
    else:
        open_cuda([Starting])
    assert calls == [(0, 4)]


def test_a_driver_without_the_function_for_sleeping_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr(cuda_driver, "_load_driver", lambda: SimpleNamespace(cuInit=lambda flags: 0))
    monkeypatch.setenv("HMDRN_BLOCKING_SYNC", "1")
    with pytest.raises(BackendError, match=r"has no cuDevicePrimaryCtxSetFlags_v2\): leave HMDRN_BLOCKING"):
        open_cuda([Starting])


@pytest.mark.gpu
def test_a_real_device_copies_and_replays_what_it_is_given():
    try:
        cuda = open_cuda(find_cuda())
    except BackendError as error:
        pytest.skip(str(error))
    array = np.arange(1000, dtype=np.float32)
    with cuda.current():
        stream = Stream(cuda)
        buffer, sent, received = DeviceBuffer(cuda, 4000), PinnedBuffer(cuda, 4000), PinnedBuffer(cuda, 4000)
        assert buffer.address % 256 == 0

        def work():
            cuda.upload(buffer.address, sent.bytes, stream.stream)
            cuda.download(received.bytes, buffer.address, stream.stream)

        sent.bytes.view(np.float32)[:] = array
        work()
        cuda.synchronize(stream.stream)
        np.testing.assert_array_equal(received.bytes.view(np.float32), array)
        graph = cuda.capture(stream.stream, work)
        if graph is not None:
            captured = CapturedGraph(cuda, graph)
            sent.bytes.view(np.float32)[:] = array * 2
            cuda.launch(captured.graph, stream.stream)
            cuda.synchronize(stream.stream)
            np.testing.assert_array_equal(received.bytes.view(np.float32), array * 2)
