"""The state of a running watch, and whether it is healthy."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hmdrn_runtime.errors import HmdrnError

HealthState: TypeAlias = Literal[
    "ok", "starting", "source lost", "no frames", "hanging", "disk full", "ending"
]
SILENCE_SECONDS = 30.0
"""Seconds without a frame, or without a step of the loop, after which a watch is not healthy."""
_MARKS = 10
"""Seconds over which frames are counted for the rate."""


@dataclass(frozen=True)
class DiaryStatus:
    """The state of a diary that is being written.

    Attributes:
        visits: Visits that have ended in this run.
        waiting: Those of them that wait in memory for room on the disk.
        without_pictures: Those whose pictures did not fit on the disk.
        is_failing: Whether the file cannot be written as it should.
        last: The last visit's species, "unknown" or "not a subject"; None before the first.
        last_end: Time of its end (UTC).
        without_clips: Visits that stayed without the clip that they should have.

    Examples:
        >>> hmdrn.DiaryStatus(visits=12, waiting=2).waiting
        2
    """

    visits: int = 0
    waiting: int = 0
    without_pictures: int = 0
    is_failing: bool = False
    last: str | None = None
    last_end: datetime | None = None
    without_clips: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        last = None
        if self.last is not None and self.last_end is not None:
            end = self.last_end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            last = {"species": self.last, "end": end}
        counts = {"ended": self.visits, "waiting": self.waiting, "without_pictures": self.without_pictures}
        return {**counts, "without_clips": self.without_clips, "last": last}


@dataclass(frozen=True)
class WatchStatus:
    """The state of a watch at one moment.

    Attributes:
        source: The source, without passwords.
        seconds: Seconds since watching began.
        read: Frames that the source gave.
        classified: Frames that were classified.
        dropped: Frames that newer ones replaced.
        reconnects: Times that the source came back.
        rate: Frames classified a second, in the last ten seconds.
        frame_age: Seconds since the source's last frame; None before the first.
        loop_age: Seconds since the loop went on.
        interval: Seconds between two frames, as the source reports it; 0 if unknown.
        waits: Whether hours without a frame are usual, as for a folder that is followed.
        is_lost: Whether the source is lost and being opened again.
        generation: Generation of the gallery; None if unknown.
        memory: Resident memory of the process in bytes; None where the system does not say.
        diary: The diary; None without one.
        is_ending: Whether the last frame is done and the diary is being completed, clips included.

    Examples:
        >>> watching = hmdrn.watch("default", "film.mp4", gallery="site7.gallery", max_frames=5)
        >>> frames = sum(1 for result in watching)
        >>> watching.status().classified
        5
    """

    source: str
    seconds: float = 0.0
    read: int = 0
    classified: int = 0
    dropped: int = 0
    reconnects: int = 0
    rate: float = 0.0
    frame_age: float | None = None
    loop_age: float = 0.0
    interval: float = 0.0
    waits: bool = False
    is_lost: bool = False
    generation: int | None = None
    memory: int | None = None
    diary: DiaryStatus | None = None
    is_ending: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "source": self.source,
            "seconds": round(self.seconds, 1),
            "read": self.read,
            "classified": self.classified,
            "dropped": self.dropped,
            "reconnects": self.reconnects,
            "frames_per_second": round(self.rate, 2),
            "last_frame_seconds": None if self.frame_age is None else round(self.frame_age, 1),
            "gallery_generation": self.generation,
            "memory_mb": None if self.memory is None else round(self.memory / 1e6, 1),
            "visits": None if self.diary is None else self.diary.to_dict(),
        }


@dataclass(frozen=True)
class Health:
    """Whether a watch does its work.

    Attributes:
        is_ok: False if it must be looked after: no frame has come for too long, or the loop hangs.
        state: "ok"; "starting" (no frame yet); "source lost" (it is being opened again); "no frames" for too
            long; "hanging" (the loop does not go on); "disk full" (visits lose pictures, or wait);
            "ending" (the last clips are encoded).

    Examples:
        >>> health = hmdrn.assess_health(hmdrn.WatchStatus("camera 0", seconds=90, read=1, frame_age=60))
        >>> health.is_ok, health.state
        (False, 'no frames')
    """

    is_ok: bool
    state: HealthState


def assess_health(status: WatchStatus, silence: float = SILENCE_SECONDS) -> Health:
    """Assess whether a watch does its work.

    A lost source is healthy as long as its last frame is recent, and a full disk costs pictures, not names.

    Args:
        status: Its state.
        silence: Seconds without a frame, or without a step of the loop, that are too long, above 0. The
            source's own interval between two frames is added.

    Raises:
        HmdrnError: `silence` is not above 0.

    Examples:
        >>> hmdrn.assess_health(hmdrn.WatchStatus("camera 0", seconds=3)).state
        'starting'
    """
    if not silence > 0:
        raise HmdrnError(f"silence is {silence}: give more than 0 seconds")
    if status.is_ending:
        return Health(True, "ending")
    if status.loop_age > silence:
        return Health(False, "hanging")
    frame_age = status.seconds if status.frame_age is None else status.frame_age
    is_silent = not status.waits and frame_age > silence + status.interval
    if status.is_lost:
        return Health(not is_silent, "source lost")
    if is_silent:
        return Health(False, "no frames")
    if status.diary is not None and status.diary.is_failing:
        return Health(True, "disk full")
    return Health(True, "starting" if status.frame_age is None and not status.waits else "ok")


def read_memory() -> int | None:
    """Return the process's resident memory in bytes; None where the system does not say."""
    try:
        import resource  # not on Windows

        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (ImportError, OSError):
        return None


class LoopMonitor:
    """Notes the steps of a loop, for other threads.

    Args:
        now: The present on the monotonic clock, as of all arguments.
    """

    def __init__(self, now: float) -> None:
        self._lock = threading.Lock()
        self._last = now
        self._total = 0
        self._marks = deque([(now, 0)], maxlen=_MARKS)

    def step(self, now: float, frames: int) -> None:
        """Note that the loop goes on, after a number of frames so far."""
        with self._lock:
            self._last, self._total = now, frames
            if now - self._marks[-1][0] >= 1:
                self._marks.append((now, frames))

    def measure(self, now: float) -> tuple[float, float]:
        """Return the seconds since the last step, and the frames a second of the last ten seconds."""
        with self._lock:
            start, count = self._marks[0]
            rate = (self._total - count) / (now - start) if now > start else 0.0
            return now - self._last, rate
