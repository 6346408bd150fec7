"""Asynchronous classification of a camera's frames, with a bounded queue."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np

from hmdrn_runtime.arguments import check_callable, check_count, refuse_copy
from hmdrn_runtime.device.forking import repair_after_fork
from hmdrn_runtime.errors import FrameDroppedError, HmdrnError

T = TypeVar("T")
MAX_WAITING = 2
"""Frames that wait at most, besides the one in work."""
_IDLE = 10.0
"""Seconds without a frame after which the thread ends and releases the model; a frame starts a new one."""


class LiveWorker(Generic[T]):
    """Processes frames one after the other in its own thread.

    Late answers are useless to a robot: if too many frames wait, the oldest is dropped, so that an answer is
    never older than a few frames.

    Args:
        work: Function of a frame, e.g. `recognizer.classify`.
        waiting: Frames that wait at most, besides the one in work; at least 1.

    Attributes:
        dropped: Frames dropped for newer ones so far.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> future = birds.classify_async("a.jpg")  # a LiveWorker runs it
        >>> future.result().label
        'Sooty Albatross'
    """

    def __init__(self, work: Callable[..., T], waiting: int = MAX_WAITING) -> None:
        check_callable(work, "work", "pass a function of a frame")
        check_count(waiting, "waiting", "let at least 1 frame wait, a whole number")
        self._work = work
        self._waiting = waiting
        self._frames: deque[tuple[Future[T], tuple[Any, ...], dict[str, Any]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.dropped: int = 0
        repair_after_fork(self)

    def after_fork(self) -> None:
        """Start anew in a forked process; frames of before stay with the process that submitted them."""
        self._changed, self._thread = threading.Condition(), None
        self._frames.clear()

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "make one in each process")

    def submit(self, frame: object, *arguments: Any, **options: Any) -> Future[T]:
        """Submit a frame; returns at once.

        Args:
            frame: First argument of `work`. An array or a buffer is copied: the camera may reuse it.
            arguments: Further arguments of `work`.
            options: Keyword arguments of `work`.

        Returns:
            A future of the result; `asyncio.wrap_future` makes it awaitable. It raises the error of `work`,
            or `FrameDroppedError` if newer frames have replaced this one.

        Raises:
            HmdrnError: The worker is closed.
        """
        future: Future[T] = Future()
        copy = frame.copy() if isinstance(frame, np.ndarray) else frame
        copy = bytes(copy) if isinstance(copy, bytearray | memoryview) else copy
        late: list[Future[T]] = []
        with self._changed:
            if self._closed:
                raise HmdrnError("this live worker is closed: open another for more frames")
            self._frames.append((future, (copy, *arguments), options))
            while len(self._frames) > self._waiting:
                late.append(self._frames.popleft()[0])
            self.dropped += len(late)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hmdrn-live", daemon=True)
                self._thread.start()
                _running.add(self)
            self._changed.notify()
        # Outside the lock: a future's callback may submit a frame itself.
        for overtaken in late:
            _drop(overtaken, f"dropped for newer frames: {self._waiting} were waiting already")
        return future

    def close(self) -> None:
        """Drop waiting frames, wait for the one in work, and end the thread."""
        with self._changed:
            self._closed = True
            waiting, thread = [future for future, _, _ in self._frames], self._thread
            self._frames.clear()
            self._changed.notify_all()
        for future in waiting:
            _drop(future, "dropped: the live worker was closed")
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> LiveWorker[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._closed, _IDLE)
                if not self._frames:
                    self._thread = None
                    return
                future, arguments, options = self._frames.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = self._work(*arguments, **options)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(answer)
            # Free the frame while waiting for the next one.
            del future, arguments, options


_running: weakref.WeakSet[LiveWorker[Any]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End the threads before the interpreter exits: a thread within a graph would crash the process."""
    for worker in list(_running):
        worker.close()


def _drop(future: Future[Any], reason: str) -> None:
    # False if it has been canceled already.
    if future.set_running_or_notify_cancel():
        future.set_exception(FrameDroppedError(reason))
