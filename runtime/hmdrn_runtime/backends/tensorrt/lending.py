"""Executions of one engine, lent to whichever thread runs its graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from hmdrn_runtime.backends.tensorrt.engine import LoadedEngine
from hmdrn_runtime.backends.tensorrt.execution import DeviceArray, Execution, Inputs, binding
from hmdrn_runtime.backends.tensorrt.memory import Cuda
from hmdrn_runtime.errors import BackendError

T = TypeVar("T")

KEPT = 3
"""Executions that one thread makes, each with a captured graph of its own: a context that is told of other
inputs takes the ground from the graph that was captured of it. Every one holds device memory for the whole
network; a camera over a gallery that grows needs two."""


class Executions:
    """As many executions of an engine as ever ran at once, not as there were threads.

    For inputs that stay on the device there are a few more, one for each of the last that were seen.

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

    def shares(self, blocks: Sequence[T]) -> list[Sequence[T]]:
        """The blocks of one call, by the execution that is to run them: the last is for all that are left."""
        alone = 0 if self._one_context else KEPT - 1
        return [share for share in (*([block] for block in blocks[:alone]), blocks[alone:]) if share]

    @contextmanager
    def lend(self, inputs: Inputs) -> Iterator[Execution]:
        """An execution for one thread at a time, if possible one that has run with these inputs."""
        with self._turn:
            execution = self._borrow(inputs)
            try:
                yield execution
            except BaseException:
                # An error leaves it in no state to be used again. But where no other may be made, a
                # traceback may keep this one for long: it starts afresh.
                if self._one_context:
                    execution.forget()
                    self._idle.append(execution)
                raise
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
        self._idle.clear()

    def _borrow(self, inputs: Inputs) -> Execution:
        wanted = binding(inputs)
        with self._choosing:
            for bound in (wanted, ()):
                for i, execution in enumerate(self._idle):
                    if execution.bound == bound:
                        return self._idle.pop(i)
            resident = any(isinstance(value, DeviceArray) for value in inputs.values())
            if self._idle and (self._one_context or not resident or len(self._idle) >= KEPT):
                return self._idle.pop(0)  # of what was used longest ago
        try:
            return Execution(self._cuda, self.loaded)
        except BackendError:
            # Too little memory for one more: one that is there does, if more slowly.
            with self._choosing:
                if not self._idle:
                    raise
                return self._idle.pop(0)
