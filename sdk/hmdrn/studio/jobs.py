"""Long work in a thread, with progress that every page shows and a button that cancels it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TypeAlias

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.messages import format_error

_MAX_ENDED = 10
RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


class JobCancelledError(Exception):
    """Raised within the work of a job that a person has cancelled."""


@dataclass(frozen=True)
class JobStatus:
    """The state of a job.

    Attributes:
        number: Its number, from 1.
        title: Its work in words, e.g. "Self-test".
        page: The page that shows its result.
        state: "running", "done", "failed" or "cancelled".
        step: The present step; empty before the first.
        done: Amount of the step that is done.
        total: The whole of it; 0 if unknown.
        message: Its result in words, or the reason why it failed.
        is_seen: Whether a person has dismissed its result.
    """

    number: int
    title: str
    page: str
    state: str = RUNNING
    step: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    is_seen: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready dictionary."""
        return asdict(self)


class JobProgress:
    """A job's view of itself: call it with each step as a `ProgressCallback`; it raises once cancelled."""

    def __init__(self, update: Callable[[str, int, int], None]) -> None:
        self._update = update
        self._cancelled = threading.Event()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report progress; raises JobCancelledError if the job was cancelled."""
        self.check()
        self._update(step, done, total)

    def check(self) -> None:
        """Raise JobCancelledError if the job was cancelled."""
        if self.is_cancelled():
            raise JobCancelledError("cancelled")

    def is_cancelled(self) -> bool:
        """Return whether a person has cancelled the job."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Cancel the job: it ends when it reports its next step, and not if that was its last one."""
        self._cancelled.set()


Work: TypeAlias = Callable[[JobProgress], str]
"""The work of a job; returns its result in words."""


class Jobs:
    """At most one job at a time, as they keep the processor busy; and the result of the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status: JobStatus | None = None
        self._progress: JobProgress | None = None
        self._thread: threading.Thread | None = None
        self._ended: deque[JobStatus] = deque(maxlen=_MAX_ENDED)

    @property
    def status(self) -> JobStatus | None:
        """The running job or the last one; None before the first."""
        return self._status

    @property
    def version(self) -> str:
        """Changes when a job starts, ends or is dismissed."""
        status = self._status
        return "" if status is None else f"{status.number}{status.state}{status.is_seen}"

    @property
    def running(self) -> JobStatus | None:
        """The running job; None if there is none."""
        status = self._status
        return status if status is not None and status.state == RUNNING else None

    def start(self, title: str, page: str, work: Work) -> JobStatus:
        """Start a job, and return at once.

        Args:
            title: Its work in words.
            page: The page that shows its result.
            work: Called with its progress, in a thread of its own.

        Raises:
            HmdrnError: Another job is running.
        """
        with self._lock:
            if (running := self.running) is not None:
                raise HmdrnError(f"{running.title} is running: wait for its end, or cancel it")
            number = 1 if self._status is None else self._status.number + 1
            self._status = JobStatus(number, title, page)
            self._progress = JobProgress(self._set)
            self._thread = threading.Thread(
                target=self._run, args=(work, self._progress), name="hmdrn-studio-job", daemon=True
            )
            self._thread.start()
            return self._status

    def run(self, title: str, page: str, work: Work, patience: float) -> str | None:
        """Do work as a job, and wait a little for its end, so that short work needs no further look.

        Beside another job it is done at once and not as a job: nobody is refused because of a self-test.

        Args:
            title: Its work in words.
            page: The page that shows its result.
            work: As for `start`.
            patience: Seconds to wait.

        Returns:
            Its result; None if it goes on, or was cancelled: then the pages show it.

        Raises:
            HmdrnError: Its reason to fail, if it did so meanwhile.
        """
        try:
            job = self.start(title, page, work)
        except HmdrnError:
            job = None
        if job is None:
            return work(JobProgress(lambda step, done, total: None))
        self.wait(patience)
        status = next((ended for ended in list(self._ended) if ended.number == job.number), None)
        if status is None or status.state == CANCELLED:
            return None
        self.dismiss(job.number)
        if status.state == FAILED:
            raise HmdrnError(status.message)
        return status.message

    def cancel(self, number: int) -> None:
        """Cancel the job of a number if it is running."""
        with self._lock:
            running = self.running
            if running is not None and running.number == number and self._progress is not None:
                self._progress.cancel()

    def dismiss(self, number: int) -> None:
        """Drop the result of the job of a number, once a person has seen it."""
        with self._lock:
            status = self._status
            if status is not None and status.number == number and status.state != RUNNING:
                self._status = replace(status, is_seen=True)

    def close(self) -> None:
        """Cancel the running job, and wait some seconds for its end."""
        if self._progress is not None:
            self._progress.cancel()
        if self._thread is not None:
            self._thread.join(5)

    def wait(self, seconds: float) -> None:
        """Wait for the end of the running job, at most for some seconds."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, work: Work, progress: JobProgress) -> None:
        try:
            message = work(progress)
        except JobCancelledError:
            self._end(CANCELLED, "cancelled")
        except HmdrnError as error:
            self._end(FAILED, str(error))
        except Exception as error:  # a fault of ours must not end the studio
            self._end(FAILED, format_error(error))
        else:
            self._end(DONE, message)

    def _end(self, state: str, message: str) -> None:
        if (status := self._status) is not None:
            ended = replace(status, state=state, message=message)
            self._ended.append(ended)  # before another job can begin
            self._status = ended

    def _set(self, step: str, done: int, total: int) -> None:
        if (status := self._status) is not None:
            self._status = replace(status, step=step, done=done, total=total)
