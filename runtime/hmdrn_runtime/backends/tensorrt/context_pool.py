"""A pool of executions of one engine, acquired by the threads that run its graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from hmdrn_runtime.backends.tensorrt.activations import ActivationMemory
from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.backends.tensorrt.engine import LoadedEngine
from hmdrn_runtime.backends.tensorrt.execution import DeviceArray, Execution, Inputs, describe_binding
from hmdrn_runtime.errors import BackendError

T = TypeVar("T")

MAX_EXECUTIONS = 3
"""Executions kept even for fewer threads, each with its own captured graph: new inputs invalidate a context's
graph. They share their activations, but each holds its inputs, its outputs and what TensorRT keeps between
runs. A camera with a growing gallery needs two."""


class ContextPool:
    """Executions of one engine: as many as ever ran at once, not as there were threads.

    For inputs that stay on the device there may be up to `MAX_EXECUTIONS`, one for each of the last inputs.

    Args:
        cuda: Its context is current in every call.
        loaded: The engine.
        activations: Memory that its executions run in.
    """

    def __init__(self, cuda: Cuda, loaded: LoadedEngine, activations: ActivationMemory) -> None:
        self.loaded = loaded
        self._cuda, self._activations = cuda, activations
        self._lock = threading.Lock()
        self._idle: list[Execution] = []
        """Last used last."""
        self._in_use = 0

    def group_blocks(self, blocks: Sequence[T]) -> list[Sequence[T]]:
        """Group the blocks of one call by the execution that runs them; the last one runs all that remain."""
        alone = MAX_EXECUTIONS - 1
        return [group for group in (*([block] for block in blocks[:alone]), blocks[alone:]) if group]

    @contextmanager
    def acquire(self, inputs: Inputs) -> Iterator[Execution]:
        """Acquire an execution for one thread, if possible one that has run with these inputs."""
        execution, succeeded = self._acquire(inputs), False
        try:
            yield execution
            succeeded = True
        finally:
            with self._lock:
                self._in_use -= 1
                if succeeded:  # after an error it is dropped
                    self._idle.append(execution)

    def warm_up(self) -> None:
        """Make an execution for the first call; BackendError if a context or its activations do not fit."""
        self._idle.append(self._make_execution())
        with self._activations.borrow(self.loaded.activation_size):
            pass

    def profile(self, profiler: Any, work: Callable[[Execution], None]) -> None:
        """Call `work` with a new execution that reports to a profiler and is freed afterwards."""
        execution = self._make_execution(profiler)
        try:
            work(execution)
        finally:
            execution.close()

    def clear(self) -> None:
        """Free the executions that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for execution in idle:  # outside the lock, because it takes a while
            execution.close()

    def _acquire(self, inputs: Inputs) -> Execution:
        with self._lock:
            self._in_use += 1
            execution = self._choose(inputs)
        if execution is not None:
            return execution
        try:
            return self._make_execution()
        except BaseException as error:
            with self._lock:
                # Without memory for another one, an idle one serves, if more slowly.
                if self._idle and isinstance(error, BackendError):
                    return self._idle.pop(0)
                self._in_use -= 1
            raise

    def _make_execution(self, profiler: Any = None) -> Execution:
        return Execution(self._cuda, self.loaded, self._activations, profiler)

    def _choose(self, inputs: Inputs) -> Execution | None:
        """Return the idle execution that suits the inputs best; None if a new one is needed."""
        for binding in (describe_binding(inputs), ()):
            for i, execution in enumerate(self._idle):
                if execution.binding == binding:
                    return self._idle.pop(i)
        resident = any(isinstance(value, DeviceArray) for value in inputs.values())
        full = len(self._idle) + self._in_use > MAX_EXECUTIONS
        if self._idle and (not resident or full):
            return self._idle.pop(0)  # the least recently used
        return None
