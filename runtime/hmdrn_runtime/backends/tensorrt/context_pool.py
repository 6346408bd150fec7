"""Executions of one engine, lent to whichever thread runs its graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.backends.tensorrt.engine import LoadedEngine
from hmdrn_runtime.backends.tensorrt.execution import DeviceArray, Execution, Inputs, binding
from hmdrn_runtime.errors import BackendError

T = TypeVar("T")

KEPT = 3
"""Executions that there may be for fewer threads, each with a captured graph of its own: to tell a context of
other inputs spoils what was captured of it. Every one holds device memory for the whole network, and a camera
over a gallery that grows needs two."""


class Executions:
    """As many executions of an engine as ever ran at once, not as there were threads.

    For inputs that stay on the device there may be up to `KEPT`, one for each of the last that were seen.

    Args:
        cuda: Its context is current in every call.
        loaded: The engine.
        one_context: Whether it admits a single execution context: threads then take turns.
    """

    def __init__(self, cuda: Cuda, loaded: LoadedEngine, one_context: bool = False) -> None:
        self.loaded = loaded
        self._cuda, self._one_context = cuda, one_context
        self._turn: AbstractContextManager[Any] = threading.Lock() if one_context else nullcontext()
        self._choosing = threading.Lock()
        self._idle: list[Execution] = []
        """Last used last."""
        self._lent = 0

    def shares(self, blocks: Sequence[T]) -> list[Sequence[T]]:
        """The blocks of one call, by the execution that is to run them: the last is for all that are left."""
        alone = 0 if self._one_context else KEPT - 1
        return [share for share in (*([block] for block in blocks[:alone]), blocks[alone:]) if share]

    @contextmanager
    def lend(self, inputs: Inputs) -> Iterator[Execution]:
        """An execution for one thread at a time, if possible one that has run with these inputs."""
        with self._turn:
            execution, sound = self._borrow(inputs), False
            try:
                yield execution
                sound = True
            finally:
                # An error leaves it in no state to be used again. But where no other may be made, a
                # traceback may keep this one for long: it starts afresh.
                if self._one_context and not sound:
                    execution.forget()
                with self._choosing:
                    self._lent -= 1
                    if sound or self._one_context:
                        self._idle.append(execution)

    def prepare(self) -> None:
        """Make an execution for the first call.

        Raises:
            BackendError: TensorRT gives no context, as a rule for want of memory.
        """
        self._idle.append(Execution(self._cuda, self.loaded))

    def profile(self, profiler: Any, work: Callable[[Execution], None]) -> None:
        """Have work done with an execution of its own, which tells a profiler and is then given back."""
        with self._turn:
            if self._one_context:
                self.clear()
            execution = Execution(self._cuda, self.loaded, profiler)
            try:
                work(execution)
            finally:
                del execution  # before another thread's turn

    def clear(self) -> None:
        """Give back the executions that nobody uses."""
        with self._choosing:
            idle, self._idle = self._idle, []
        idle.clear()  # which takes a while, and the lock is not needed for it

    def _borrow(self, inputs: Inputs) -> Execution:
        with self._choosing:
            self._lent += 1
            found = self._choose(inputs)
        if found is not None:
            return found
        try:
            return Execution(self._cuda, self.loaded)
        except BaseException as error:
            with self._choosing:
                # With too little memory for one more, one that is there does, if more slowly.
                if self._idle and isinstance(error, BackendError):
                    return self._idle.pop(0)
                self._lent -= 1
            raise

    def _choose(self, inputs: Inputs) -> Execution | None:
        """The execution that suits inputs best; None if one is to be made."""
        for bound in (binding(inputs), ()):
            for i, execution in enumerate(self._idle):
                if execution.bound == bound:
                    return self._idle.pop(i)
        resident = any(isinstance(value, DeviceArray) for value in inputs.values())
        if self._idle and (self._one_context or not resident or len(self._idle) + self._lent > KEPT):
            return self._idle.pop(0)  # what was used longest ago
        return None
