"""A source that is read again when it stalls, dies or, in a loop, ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from hmdrn.watching.frames import Frame
from hmdrn.watching.reader_thread import ReaderThread
from hmdrn.watching.results import SourceState
from hmdrn.watching.sources import Source
from hmdrn_runtime.errors import SourceError

FIRST_DELAY, MAX_DELAY = 0.5, 30.0
"""Seconds before the first attempt to reconnect, doubled with each further one up to the maximum."""
_OPEN_TIMEOUT = 15.0
"""Seconds without a first frame after which an attempt to open is given up."""
_MAX_ABANDONED = 3
"""Threads that may hang in a driver at once; with that many, no further one is started."""
_TOLERANCE = 0.1
"""Share of a file's frames that may be missing without a report: some files hold an estimate."""
_CLOSE_TIMEOUT = 0.5
"""Seconds that closing waits for the reader's thread."""

Report: TypeAlias = Callable[[SourceState, str], None]
"""Receives the new state of the source and a message."""


class ReconnectingSource:
    """Frames of a source, one by one.

    Everything that happens to the source is noticed and reported in the thread that takes the frames.

    Args:
        source: The source.
        every_frame: Whether no frame is dropped; see `ReaderThread`.
        loop: Whether a file starts again when it has ended.
        stall_after: Seconds without a frame after which a live source counts as stalled, above 0.
        report: Called with what happens to the source.

    Attributes:
        reconnects: Times that the source came back.
        ended: Whether there will be no more frames.
        last_frame_time: Time of the last frame, or of an unchanged picture, on the monotonic clock; None
            before the first.
    """

    def __init__(
        self, source: Source, every_frame: bool, loop: bool, stall_after: float, report: Report
    ) -> None:
        self._source, self._every_frame, self._loop = source, every_frame, loop
        self._stall_after, self._report = stall_after, report
        self._start = time.monotonic()
        self._taken = self._dropped_before = self._taken_before = 0
        self._abandoned: list[ReaderThread] = []
        self._attempt = 0
        self._retry_at = 0.0
        self.reconnects: int = 0
        self.ended: bool = False
        self.last_frame_time: float | None = None
        self._reader: ReaderThread | None = self._open()

    @property
    def rate(self) -> float:
        """Frames a second, as the source reports it; 0 until it is open."""
        return self._reader.rate if self._reader is not None else 0.0

    @property
    def is_lost(self) -> bool:
        """Whether the source is lost and being opened again."""
        return self._attempt > 0

    @property
    def dropped(self) -> int:
        """Frames that newer ones replaced."""
        return self._dropped_before + (self._reader.dropped if self._reader is not None else 0)

    @property
    def read(self) -> int:
        """Frames that were taken or dropped."""
        return self._taken + self.dropped

    def take(self, seconds: float) -> Frame | None:
        """Return the newest frame, or None if there is none within some seconds; see `ended` then.

        Raises:
            SourceError: A file, or a live source that never gave a frame, cannot be read.
            MissingDependencyError: OpenCV is not installed.
        """
        reader = self._reader
        if reader is None:
            self._retry(seconds)
            return None
        frame = reader.take(seconds)
        if reader.has_frame:
            self.last_frame_time = reader.last_frame_time
        if frame is not None:
            if self._attempt:
                self.reconnects += 1
                self._report("reconnected", f"{self._source.name} is back")
            self._attempt = 0
            self._taken += 1
        elif reader.ended:
            self._handle_end(reader)
        elif self._source.live:
            self._check_stall(reader)
        return frame

    def close(self) -> None:
        """Release the source; a driver that hangs is abandoned."""
        if self._reader is not None:
            self._reader.close(_CLOSE_TIMEOUT)

    def _open(self) -> ReaderThread:
        first_index = self._taken + self._dropped_before
        return ReaderThread(self._source, self._every_frame, self._stall_after, first_index, self._start)

    def _handle_end(self, reader: ReaderThread) -> None:
        name = self._source.name
        if self._source.live and self._taken:
            cause = f": {reader.error}" if reader.error is not None else ""
            self._reconnect("lost", f"{name} gives no more frames{cause}")
        elif reader.error is not None:
            raise reader.error
        elif self._source.live:
            raise SourceError(
                f"{name} gave no frame: check that it is up, and that its format can be decoded"
            )
        elif self._taken == self._taken_before:
            raise SourceError(
                f"{name} has no frame that can be read: it is empty, damaged, or of an unknown codec"
            )
        else:
            if reader.missing > _TOLERANCE * (self.read + reader.missing):
                message = f"{name} ended {reader.missing} frames before the end that it reports"
                self._report("short", f"{message}: it may be damaged")
            self.ended = not self._loop
            if self._loop:
                self._drop_reader(reader)
                self._reader = self._open()

    def _check_stall(self, reader: ReaderThread) -> None:
        silent = time.monotonic() - reader.last_frame_time
        patience = (
            self._stall_after + 1 / reader.rate if reader.rate else max(self._stall_after, _OPEN_TIMEOUT)
        )
        if silent < patience:
            return
        name = self._source.name
        if not self._taken:
            raise SourceError(f"{name} gave no frame within {silent:.0f} s: check that it is up")
        self._reconnect("stalled", f"{name} has given no frame for {silent:.1f} s")

    def _reconnect(self, state: SourceState, message: str) -> None:
        """Report a failure, unless it is of an attempt to reconnect, and plan the next attempt."""
        if not self._attempt:
            self._report(state, message)
        if self._reader is not None:
            self._drop_reader(self._reader)
        self._reader = None
        delay = min(MAX_DELAY, FIRST_DELAY * 2.0**self._attempt)
        self._attempt = min(self._attempt + 1, 10)
        self._retry_at = time.monotonic() + delay
        self._report("retrying", f"connecting to {self._source.name} again in {delay:g} s")

    def _drop_reader(self, reader: ReaderThread) -> None:
        reader.close()
        self._dropped_before += reader.dropped
        self._taken_before = self._taken
        self._abandoned = [old for old in [*self._abandoned, reader] if old.alive]

    def _retry(self, seconds: float) -> None:
        time.sleep(max(0.0, min(seconds, self._retry_at - time.monotonic())))
        self._abandoned = [old for old in self._abandoned if old.alive]
        if time.monotonic() >= self._retry_at and len(self._abandoned) < _MAX_ABANDONED:
            self._reader = self._open()
