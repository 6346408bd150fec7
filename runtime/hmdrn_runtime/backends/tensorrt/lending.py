"""Executions of one engine, lent to whichever thread runs its graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from hmdrn_runtime.backends.tensorrt.engine import LoadedEngine
from hmdrn_runtime.backends.tensorrt.execution import Execution
from hmdrn_runtime.backends.tensorrt.memory import Cuda


class Executions:
    """As many executions of an engine as ever ran at once, not as there were threads.

    Args:
        cuda: Its context is current in every call.
        loaded: The engine.
        one_context: Whether it admits a single execution context: threads then take turns.
    """

    def __init__(self, cuda: Cuda, loaded: LoadedEngine, one_context: bool = False) -> None:
        self.loaded = loaded
        self._cuda, self._one_context = cuda, one_context
        self._turn: AbstractContextManager[Any] = threading.Lock() if one_context else nullcontext()
        self._idle: list[Execution] = []

    @contextmanager
    def lend(self) -> Iterator[Execution]:
        """An execution for one thread at a time."""
        with self._turn:
            execution = self._borrow()
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

    def _borrow(self) -> Execution:
        try:
            return self._idle.pop()
        except IndexError:
            return Execution(self._cuda, self.loaded)
