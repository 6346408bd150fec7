"""Memory for activations: one buffer for runs after another, one each for runs at once."""

from __future__ import annotations

import threading

import pytest
from fake_tensorrt import FakeCuda

from hmdrn_runtime.backends.tensorrt.activations import ActivationMemory
from hmdrn_runtime.errors import BackendError


class LimitedCuda(FakeCuda):
    """A device with so many bytes."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def allocate(self, size):
        if sum(self.memory.values()) + size > self.size:
            raise BackendError("CUDA could not allocate: out of memory")
        return super().allocate(size)


@pytest.fixture
def cuda():
    cuda = LimitedCuda(1000)
    with cuda.current():
        yield cuda


@pytest.fixture
def memory(cuda):
    return ActivationMemory(cuda)


def test_runs_after_another_share_one_buffer_that_grows(cuda, memory):
    addresses = []
    for size in (300, 200, 300):
        with memory.borrow(size) as buffer:
            addresses.append(buffer.address)
    assert len(set(addresses)) == 1
    assert list(cuda.memory.values()) == [300]
    with memory.borrow(900):  # more than is left beside the smaller one
        assert list(cuda.memory.values()) == [900]
    memory.clear()
    assert cuda.memory == {}


def test_runs_at_once_never_share_and_get_their_previous_buffers_again(memory):
    with memory.borrow(100) as first, memory.borrow(100) as second:
        assert first.address != second.address
    for address in (first.address, second.address, first.address):
        with memory.borrow(100, address) as buffer:
            assert buffer.address == address


def test_the_memory_of_a_failed_run_is_freed_at_once(cuda, memory):
    with pytest.raises(ZeroDivisionError) as held, memory.borrow(100):
        _ = 1 // 0
    assert held.tb is not None
    assert cuda.memory == {}
    with memory.borrow(100):
        pass


def test_without_memory_for_two_runs_at_once_threads_take_turns(cuda, memory):
    order = []

    def work():
        with cuda.current(), memory.borrow(700):
            order.append("other")

    other = threading.Thread(target=work)
    with memory.borrow(600):
        other.start()
        other.join(0.05)
        order.append("first")
    other.join()
    assert order == ["first", "other"]


@pytest.mark.parametrize("waiting", [0, 2])
def test_memory_that_the_device_does_not_have_is_an_error_in_every_thread(cuda, memory, waiting):
    failures = []

    def work():
        with (
            pytest.raises(BackendError, match="out of memory") as caught,
            cuda.current(),
            memory.borrow(1001),
        ):
            pytest.fail("it does not fit")
        failures.append(caught.value)

    threads = [threading.Thread(target=work) for _ in range(waiting)]
    with memory.borrow(100):
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(10)
    work()
    assert len(failures) == waiting + 1
