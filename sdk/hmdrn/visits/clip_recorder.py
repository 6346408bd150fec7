"""Clips of visits: cut out of the last seconds, encoded in a thread of their own, and stored."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from hmdrn.visits.clip_buffer import MAX_SECONDS, RATE, ClipBuffer, ClipFrame
from hmdrn.visits.clip_video import check_encoder, encode_clip, encode_frame
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit, VisitClip
from hmdrn.watching.frames import Frame
from hmdrn_runtime.errors import HmdrnError

CLIP_MARGIN = 5.0
"""Seconds before and after a visit that show how it comes and goes."""
MAX_MARGIN = 10.0
"""Most seconds before and after a visit."""
_MAX_JOBS = 8
"""Clips that wait to be encoded."""
_NICENESS = 10
"""Lower priority of the thread that encodes, where a thread can have one: frames are named first."""


@dataclass(frozen=True)
class _Request:
    """A clip to cut out; times in seconds on the recorder's clock."""

    visit: Visit
    visit_start: float
    start: float
    end: float


@dataclass(frozen=True)
class _Job:
    """A clip to encode."""

    request: _Request
    frames: tuple[ClipFrame, ...]


class ClipRecorder:
    """Stores a short film of each visit, with some seconds before and after it.

    Of a visit that lasts longer than a clip, the film shows the beginning. Photos of a folder have none.

    Args:
        store: The diary.
        seconds: Seconds before and after a visit, 0 to 10.
        waits: Whether a full queue is waited for, so that every visit of a film has its clip; a camera, or a
            film that is played like one, does not wait, and the visit stays without one.
        report: Called once when clips begin to fail.

    Attributes:
        missing: Visits that stayed without a clip so far.

    Raises:
        MissingDependencyError: OpenCV is not installed.
        HmdrnError: It cannot write VP8, or `seconds` is out of range.
    """

    def __init__(self, store: VisitStore, seconds: float, waits: bool, report: Callable[[str], None]) -> None:
        if not 0 <= seconds <= MAX_MARGIN:
            raise HmdrnError(f"clips is {seconds}: give 0 to {MAX_MARGIN:g} seconds before and after a visit")
        check_encoder()
        self._store, self._seconds, self._waits, self._report = store, seconds, waits, report
        self._buffer = ClipBuffer()
        self._requests: list[_Request] = []
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_MAX_JOBS)
        self._is_failing = False
        self._lock = threading.Lock()
        self.missing: int = 0
        self._thread = threading.Thread(target=self._run, name="hmdrn-clips", daemon=True)
        self._thread.start()

    def add(self, frame: Frame, clock: float) -> None:
        """Keep a frame, and begin to encode the clips that are complete with it."""
        if frame.file is not None or not isinstance(frame.pixels, np.ndarray):
            return
        if self._buffer.is_due(clock):
            self._buffer.add(clock, encode_frame(frame.pixels))
        self._submit(clock)

    def is_full(self, start: float, clock: float) -> bool:
        """Return whether a visit that began at `start` fills a clip by now."""
        return clock >= start - self._seconds + MAX_SECONDS

    def request(self, visit: Visit, start: float, end: float) -> None:
        """Cut out the clip of a stored visit once the seconds after it have passed.

        Args:
            visit: The visit.
            start: Its beginning on the clock of `add`.
            end: Its end.
        """
        if not visit.id:  # it waits for room on the disk
            self._count_missing()
            return
        first = start - self._seconds
        last = min(end + self._seconds, first + MAX_SECONDS)
        self._requests.append(_Request(visit, start, first, last))

    def close(self) -> None:
        """Encode what is there of all clips, and end."""
        if self._thread.is_alive():
            self._submit(float("inf"), waits=True)
            self._jobs.put(None)
            self._thread.join()

    def _submit(self, clock: float, waits: bool = False) -> None:
        """Hand the clips over that end before a time."""
        due = [request for request in self._requests if request.end <= clock]
        self._requests = [request for request in self._requests if request.end > clock]
        for request in due:
            frames = self._buffer.take(request.start, request.end)
            try:
                if not frames:
                    raise queue.Full
                self._jobs.put(_Job(request, frames), block=waits or self._waits)
            except queue.Full:
                self._buffer.release(frames)
                self._count_missing()

    def _run(self) -> None:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (job := self._jobs.get()) is not None:
            try:
                self._store_clip(job)
            except HmdrnError as error:
                self._count_missing()
                if not self._is_failing:
                    self._is_failing = True
                    self._report(f"{error}; until then visits have no clips")
                self._store.shrink_log()
            else:
                self._is_failing = False
            finally:
                self._buffer.release(job.frames)

    def _store_clip(self, job: _Job) -> None:
        request, video = job.request, encode_clip(job.frames)
        shift = timedelta(seconds=job.frames[0].slot / RATE - request.visit_start)
        clip = VisitClip(request.visit.start + shift, video.duration, video.width, video.height, video.webm)
        if not self._store.save_clip(request.visit.id, clip):
            self._count_missing()

    def _count_missing(self) -> None:
        with self._lock:
            self.missing += 1
