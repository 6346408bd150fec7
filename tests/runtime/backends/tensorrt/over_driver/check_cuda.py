"""Checks of the CUDA adapters, run by test_over_driver over the stand-in driver with the real package."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from backend_over_driver import ILLEGAL_ADDRESS, THREADS
from stub_driver import NOTHING, open_checked_cuda

from hmdrn.selftest.adapter import check_adapter
from hmdrn_runtime.backends.tensorrt.cuda.base import CapturedGraph, DeviceBuffer, PinnedBuffer, Stream
from hmdrn_runtime.backends.tensorrt.cuda.find import open_cuda
from hmdrn_runtime.errors import BackendError

UNKNOWN = 999
INVALID_CONTEXT = 201
NOT_SUPPORTED = 801
BLOCKING_SYNC = 4
VALUES = np.arange(300, dtype=np.float32)


@pytest.fixture
def cuda(driver):
    """The adapter; what a test made is given back with the test's variables, and nothing else is left."""
    cuda = open_checked_cuda()
    yield cuda
    driver.mend()
    gc.collect()
    assert (driver.remaining(), driver.abandoned()) == (NOTHING, 0)


def make_all(cuda):
    """Return a stream, two device buffers and two page-locked ones."""
    device = [DeviceBuffer(cuda, VALUES.nbytes) for _ in range(2)]
    pinned = [PinnedBuffer(cuda, VALUES.nbytes) for _ in range(2)]
    return Stream(cuda), *device, *pinned


def test_work_of_a_stream_is_done_once_it_is_synchronized(cuda):
    with cuda.current():
        stream, first, second, sent, received = make_all(cuda)
        assert first.address % 256 == 0
        sent.bytes.view(np.float32)[:] = VALUES
        received.bytes[:] = 0
        cuda.upload(first.address, sent.bytes, stream.stream)
        cuda.copy(second.address, first.address, VALUES.nbytes, stream.stream)
        cuda.download(received.bytes, second.address, stream.stream)
        assert not received.bytes.any()
        cuda.synchronize(stream.stream)
        np.testing.assert_array_equal(received.bytes.view(np.float32), VALUES)


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.bool_, np.int64])
def test_arrays_in_ordinary_memory_are_copied_whatever_their_type(cuda, dtype):
    sent, received = np.ones((2, 3), dtype), np.zeros((2, 3), dtype)
    sent.setflags(write=False)
    with cuda.current():
        stream, buffer, *_ = make_all(cuda)
        cuda.upload(buffer.address, sent, stream.stream)
        cuda.download(received, buffer.address, stream.stream)
        cuda.synchronize(stream.stream)
    np.testing.assert_array_equal(received, sent)


def test_the_previous_context_is_current_again_after_every_call(cuda, driver):
    foreign = driver.push_foreign_context()
    with cuda.current():
        assert driver.current_context() != foreign
        with cuda.current():
            made = make_all(cuda)
    assert driver.current_context() == foreign
    with pytest.raises(ZeroDivisionError), cuda.current():
        driver.count("device") // 0
    del made
    gc.collect()
    assert (driver.current_context(), driver.count("device")) == (foreign, 0)
    driver.library.cuCtxPopCurrent_v2(None)


def test_objects_are_freed_by_threads_that_never_used_cuda(cuda, driver):
    with cuda.current():
        made = list(make_all(cuda))
    thread = threading.Thread(target=made.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert driver.remaining() == NOTHING


def test_threads_copy_at_once_each_on_its_own_stream(cuda):
    def work(number):
        for _ in range(20):
            with cuda.current():
                stream, buffer, _, sent, received = make_all(cuda)
                sent.bytes[:] = number
                cuda.upload(buffer.address, sent.bytes, stream.stream)
                cuda.download(received.bytes, buffer.address, stream.stream)
                cuda.synchronize(stream.stream)
                assert (received.bytes == number).all()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


def test_memory_that_the_device_does_not_have_is_reported(cuda):
    with cuda.current():
        with pytest.raises(
            BackendError, match=r"could not allocate 1048576\.0 MiB on the device.*out of memory"
        ):
            DeviceBuffer(cuda, 1 << 40)
        with pytest.raises(BackendError, match=r"could not lock 1048576\.0 MiB of the host.*out of memory"):
            PinnedBuffer(cuda, 1 << 40)
        make_all(cuda)


@pytest.mark.parametrize(
    ("function", "action", "call"),
    [
        ("cuMemcpyHtoDAsync_v2", "copy", lambda c, s, a, b, p: c.upload(a, p, s)),
        ("cuMemcpyDtoHAsync_v2", "copy", lambda c, s, a, b, p: c.download(p, a, s)),
        ("cuMemcpyDtoDAsync_v2", "copy", lambda c, s, a, b, p: c.copy(b, a, 16, s)),
        ("cuStreamSynchronize", "run the graph", lambda c, s, a, b, p: c.synchronize(s)),
        ("cuStreamCreate", "create a stream", lambda c, s, a, b, p: c.create_stream()),
        ("cuMemAlloc_v2", "allocate 0.0 MiB", lambda c, s, a, b, p: c.allocate(16)),
    ],
)
def test_a_failed_call_is_an_error_and_the_next_one_works(cuda, driver, function, action, call):
    with cuda.current():
        stream, first, second, sent, _ = make_all(cuda)
        arguments = (cuda, stream.stream, first.address, second.address, sent.bytes)
        driver.fail(function, ILLEGAL_ADDRESS)
        with pytest.raises(BackendError, match=f"CUDA could not {action}.*illegal"):
            call(*arguments)
        driver.mend()
        assert driver.count("depth") == 1
        cuda.upload(first.address, sent.bytes, stream.stream)
        cuda.synchronize(stream.stream)


def test_a_failed_push_is_an_error_and_nothing_is_current(cuda, driver):
    driver.fail("cuCtxPushCurrent_v2", INVALID_CONTEXT)
    with (
        pytest.raises(BackendError, match=r"could not use its device.*invalid device context"),
        cuda.current(),
    ):
        pytest.fail("the context is not current")
    driver.mend()
    assert driver.count("depth") == 0


def test_frees_of_a_lost_device_raise_nothing(cuda, driver):
    with cuda.current():
        made = make_all(cuda)
    driver.fail("cuCtxPushCurrent_v2", UNKNOWN)
    first, *rest = made
    del made
    first.release()
    driver.mend()
    with cuda.current():
        cuda.destroy_stream(first.stream)
    del first, rest


def test_a_captured_graph_copies_what_the_buffers_hold_at_its_launch(cuda, driver):
    with cuda.current():
        stream, buffer, _, sent, received = make_all(cuda)

        def work():
            cuda.upload(buffer.address, sent.bytes, stream.stream)
            cuda.download(received.bytes, buffer.address, stream.stream)

        graph = cuda.capture(stream.stream, work)
        if not cuda.captures_graphs:
            assert graph is None
            assert str(cuda) == "pycuda, which captures no CUDA graphs"
            return
        captured = CapturedGraph(cuda, graph)
        assert (driver.count("graphs"), driver.count("executables")) == (0, 1)
        for factor in (1, 2):
            sent.bytes.view(np.float32)[:] = VALUES * factor
            cuda.launch(captured.graph, stream.stream)
            cuda.synchronize(stream.stream)
            np.testing.assert_array_equal(received.bytes.view(np.float32), VALUES * factor)


def capture_fails(cuda, driver, work, error):
    """Check that a capture of work raises an error, and leaves no graph and a stream that works."""
    if not cuda.captures_graphs:
        pytest.skip(str(cuda))
    with cuda.current():
        stream, buffer, _, sent, _ = make_all(cuda)

        def record():
            cuda.upload(buffer.address, sent.bytes, stream.stream)
            work(cuda)

        with pytest.raises(error):
            cuda.capture(stream.stream, record)
        driver.mend()
        assert (driver.count("graphs"), driver.count("executables")) == (0, 0)
        cuda.upload(buffer.address, sent.bytes, stream.stream)
        cuda.synchronize(stream.stream)


def test_a_capture_in_which_an_exception_is_raised_leaves_nothing(cuda, driver):
    capture_fails(cuda, driver, lambda cuda: 1 // 0, ZeroDivisionError)


def test_a_capture_that_is_invalidated_and_fails_leaves_nothing(cuda, driver):
    capture_fails(cuda, driver, lambda cuda: cuda.allocate(16), BackendError)


def test_a_capture_that_is_invalidated_unnoticed_leaves_nothing(cuda, driver):
    def work(cuda):
        with pytest.raises(BackendError, match="stream is capturing"):
            cuda.allocate(16)

    capture_fails(cuda, driver, work, BackendError)


def test_a_graph_that_cannot_be_made_executable_leaves_nothing(cuda, driver):
    driver.fail("cuGraphInstantiateWithFlags", UNKNOWN)
    capture_fails(cuda, driver, lambda cuda: None, BackendError)


def test_objects_collected_during_a_capture_are_freed_after_it(cuda, driver):
    with cuda.current():
        stream, *_ = make_all(cuda)
        extra = [DeviceBuffer(cuda, 16), PinnedBuffer(cuda, 16), Stream(cuda)]

        def work():
            extra.clear()
            gc.collect()
            assert driver.count("device") == 3

        if cuda.captures_graphs:
            CapturedGraph(cuda, cuda.capture(stream.stream, work))
            assert driver.count("device") == 2
        extra.clear()


def test_the_primary_context_outlives_every_adapter(cuda, driver):
    references = driver.count("references")
    second = open_checked_cuda()
    assert driver.count("references") == references + 1
    del second
    gc.collect()
    assert (driver.count("references"), driver.count("depth")) == (references + 1, 0)
    with cuda.current():
        make_all(cuda)


def test_threads_sleep_while_they_wait_if_the_environment_says_so(cuda, driver, monkeypatch):
    kinds = [type(cuda)]
    open_cuda(kinds)
    assert driver.count("flags") == 0
    monkeypatch.setenv("HMDRN_BLOCKING_SYNC", "1")
    second = open_cuda(kinds)
    assert driver.count("flags") == BLOCKING_SYNC
    with second.current():
        second.free(second.allocate(16))
    driver.fail("cuDevicePrimaryCtxSetFlags_v2", NOT_SUPPORTED)
    with pytest.raises(BackendError, match=r"CUDA error 801\): leave HMDRN_BLOCKING_SYNC out"):
        open_cuda(kinds)


def test_the_self_test_finds_nothing_wrong(cuda, driver):
    before = driver.count("launches")
    assert check_adapter(cuda) == {"package": cuda.package, "captures_graphs": cuda.captures_graphs}
    assert driver.count("launches") - before == int(cuda.captures_graphs)
