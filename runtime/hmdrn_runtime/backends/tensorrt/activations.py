"""Device memory for the activations of engines, lent to one run at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda, DeviceBuffer
from hmdrn_runtime.errors import BackendError


class ActivationMemory:
    """One set of activations for all execution contexts of a backend, whatever their graphs.

    Activations are valid only during a run, so idle contexts share one buffer, as large as the largest engine
    that has run needs. Runs at the same time never share: each has a buffer of its own, so there are as many
    as ever ran at once. If the device has no memory for another one, a run waits until one is given back:
    threads take turns.

    Args:
        cuda: Its context is current in every call.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._given_back = threading.Condition()
        self._idle: list[DeviceBuffer] = []
        self._lent = 0

    @contextmanager
    def borrow(self, size: int, previous: int = 0) -> Iterator[DeviceBuffer]:
        """Borrow a buffer of at least `size` bytes for one run, which has ended on the device afterwards.

        Args:
            size: Bytes of the engine's activations.
            previous: Address of the context's previous buffer, which it gets again if that is idle: captured
                graphs stay valid.

        Raises:
            BackendError: The device does not have the memory.
        """
        buffer, succeeded = self._take(size, previous), False
        try:
            yield buffer
            succeeded = True
        finally:
            # After an error work may still be pending; a traceback may keep the buffer alive for long.
            if not succeeded:
                buffer.release()
            with self._given_back:
                self._lent -= 1
                if succeeded:
                    self._idle.append(buffer)
                self._given_back.notify_all()

    def clear(self) -> None:
        """Free the buffers that no run uses."""
        with self._given_back:
            self._free_idle()

    def _take(self, size: int, previous: int) -> DeviceBuffer:
        with self._given_back:
            while True:
                fitting = [buffer for buffer in self._idle if buffer.size >= size]
                try:
                    if fitting:
                        buffer = min(fitting, key=lambda idle: (idle.address != previous, idle.size))
                        self._idle.remove(buffer)
                    else:
                        self._free_idle()  # first: a small device may not hold both
                        buffer = DeviceBuffer(self._cuda, max(size, 1))
                    self._lent += 1
                    return buffer
                except BackendError:
                    if not self._lent:
                        raise
                    self._given_back.wait()

    def _free_idle(self) -> None:
        while self._idle:
            self._idle.pop().release()
