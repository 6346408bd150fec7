"""Classifying a camera's frames beside the loop that takes them: futures, and a queue that does not grow."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np

from hmdrn_runtime.errors import FrameDroppedError, HmdrnError

T = TypeVar("T")
WAITING = 2
"""Frames that wait at most, beside the one in work."""
_IDLE = 10.0
"""Seconds without a frame after which the thread ends, and lets go of the model; a frame starts a new one."""


class LiveWorker(Generic[T]):
    """Works on frames one after the other in a thread of its own.

    Late answers are of no use to a robot: where too many frames wait, the oldest is dropped, so that an
    answer is never older than a few frames.

    Args:
        work: What to do with a frame, e.g. `recognizer.classify`.
        waiting: Frames that wait at most, beside the one in work.
    """

    def __init__(self, work: Callable[..., T], waiting: int = WAITING) -> None:
        if waiting < 1:
            raise HmdrnError(f"waiting is {waiting}: let at least 1 frame wait")
        self._work = work
        self._waiting = waiting
        self._frames: deque[tuple[Future[T], tuple[Any, ...], dict[str, Any]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.dropped = 0
        """Frames that gave way to newer ones so far."""

    def submit(self, frame: object, *arguments: Any, **options: Any) -> Future[T]:
        """Hand over a frame; returns at once.

        Args:
            frame: As `work` takes it. An array is copied: the camera may fill its buffer anew.
            arguments: Further arguments of `work`.
            options: Its options.

        Returns:
            A future of the answer; `asyncio.wrap_future` makes it one to await. It raises what `work`
            raised, or `FrameDroppedError` where newer frames have overtaken this one.

        Raises:
            HmdrnError: The worker is closed.
        """
        future: Future[T] = Future()
        kept = frame.copy() if isinstance(frame, np.ndarray) else frame
        late: list[Future[T]] = []
        with self._changed:
            if self._closed:
                raise HmdrnError("this live worker is closed: open another for more frames")
            self._frames.append((future, (kept, *arguments), options))
            while len(self._frames) > self._waiting:
                late.append(self._frames.popleft()[0])
            self.dropped += len(late)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hmdrn-live", daemon=True)
                self._thread.start()
                _running.add(self)
            self._changed.notify()
        # Outside the lock: what is called when a future is done may hand over a frame itself.
        for one in late:
            _drop(one, f"dropped for newer frames: {self._waiting} were waiting already")
        return future

    def close(self) -> None:
        """Drop what waits, wait for the frame in work, and end the thread."""
        with self._changed:
            self._closed = True
            left, thread = [future for future, _, _ in self._frames], self._thread
            self._frames.clear()
            self._changed.notify_all()
        for future in left:
            _drop(future, "dropped: the live worker was closed")
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> LiveWorker[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
            # Nothing of a frame stays while the next one is waited for.
            del future, arguments, options


_running: weakref.WeakSet[LiveWorker[Any]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End the threads before the interpreter goes: one that is within a graph then crashes the process."""
    for worker in list(_running):
        worker.close()


def _drop(future: Future[Any], why: str) -> None:
    # False where the robot has cancelled it already.
    if future.set_running_or_notify_cancel():
        future.set_exception(FrameDroppedError(why))
