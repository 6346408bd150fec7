"""A source that is kept going: read again when it stalls, dies or, if asked for, ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from hmdrn.watching.frames import Frame
from hmdrn.watching.reader_thread import Reader
from hmdrn.watching.results import SourceState
from hmdrn.watching.sources import Source
from hmdrn_runtime.errors import SourceError

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the first attempt to connect again, doubled with each further one up to the longest."""
_OPENING = 15.0
"""Seconds without a first frame after which an opening is given up."""
_ABANDONED = 3
"""Threads that may hang in a driver at once before no further one is started."""
_SLACK = 0.1
"""Share of a file's frames that may be missing in silence: some files tell an estimate."""
_LEAVING = 0.5
"""Seconds that closing waits for the reader's thread."""

Report = Callable[[SourceState, str], None]
"""report(state, message)."""


class Feed:
    """Frames of a source, one by one.

    All that happens to the source is noticed and reported in the thread that takes the frames.

    Args:
        source: What to read.
        every_frame: Whether no frame is dropped; see `reader.Reader`.
        loop: Whether a file begins again when it has ended.
        stall_after: Seconds without a frame after which a live source counts as stalled, above 0.
        report: Called with what happens to the source.
    """

    def __init__(
        self, source: Source, every_frame: bool, loop: bool, stall_after: float, report: Report
    ) -> None:
        self._source, self._every_frame, self._loop = source, every_frame, loop
        self._stall_after, self._report = stall_after, report
        self._began = time.monotonic()
        self._taken = self._dropped_before = self._taken_before = 0
        self._abandoned: list[Reader] = []
        self._attempt = 0
        self._retry_at = 0.0
        self.reconnects = 0
        self.ended = False
        self._reader: Reader | None = self._open()

    @property
    def rate(self) -> float:
        """Frames a second that the source tells; 0 until it is open."""
        return self._reader.rate if self._reader is not None else 0.0

    @property
    def dropped(self) -> int:
        """Frames that newer ones have overtaken."""
        return self._dropped_before + (self._reader.dropped if self._reader is not None else 0)

    @property
    def read(self) -> int:
        """Frames that were taken or overtaken."""
        return self._taken + self.dropped

    def take(self, seconds: float) -> Frame | None:
        """The newest frame, or None if none comes within some seconds; see `ended` then.

        Raises:
            SourceError: A file, or a live source that never gave a frame, cannot be read.
            MissingDependencyError: OpenCV is not installed.
        """
        reader = self._reader
        if reader is None:
            self._retry(seconds)
            return None
        frame = reader.take(seconds)
        if frame is not None:
            if self._attempt:
                self.reconnects += 1
                self._report("reconnected", f"{self._source.name} is back")
            self._attempt = 0
            self._taken += 1
        elif reader.ended:
            self._end(reader)
        elif self._source.live:
            self._check_stall(reader)
        return frame

    def close(self) -> None:
        """Let go of the source; a driver that hangs is left to itself."""
        if self._reader is not None:
            self._reader.close(_LEAVING)

    def _open(self) -> Reader:
        first = self._taken + self._dropped_before
        return Reader(self._source, self._every_frame, self._stall_after, first, self._began)

    def _end(self, reader: Reader) -> None:
        if self._source.live and self._taken:
            why = f": {reader.fault}" if reader.fault is not None else ""
            if not self._attempt:
                self._report("lost", f"{self._source.name} gives no more frames{why}")
            self._again()
        elif reader.fault is not None:
            raise reader.fault
        elif self._taken == self._taken_before:
            raise SourceError(_no_frame(self._source))
        else:
            if reader.missing > _SLACK * (self.read + reader.missing):
                missing = f"{self._source.name} ended {reader.missing} frames before the end that it tells"
                self._report("short", f"{missing}: it may be damaged")
            self.ended = not self._loop
            if self._loop:
                self._drop_reader(reader)
                self._reader = self._open()

    def _check_stall(self, reader: Reader) -> None:
        silent = time.monotonic() - reader.heard
        if silent < (self._stall_after if reader.rate else max(self._stall_after, _OPENING)):
            return
        if not self._taken:
            raise SourceError(f"{self._source.name} gave no frame within {silent:.0f} s: check that it is up")
        if not self._attempt:
            self._report("stalled", f"{self._source.name} has given no frame for {silent:.1f} s")
        self._again()

    def _again(self) -> None:
        """Plan the next attempt."""
        if self._reader is not None:
            self._drop_reader(self._reader)
        self._reader = None
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._attempt)
        self._attempt = min(self._attempt + 1, 10)
        self._retry_at = time.monotonic() + delay
        self._report("retrying", f"connecting to {self._source.name} again in {delay:g} s")

    def _drop_reader(self, reader: Reader) -> None:
        reader.close()
        self._dropped_before += reader.dropped
        self._taken_before = self._taken
        self._abandoned = [one for one in [*self._abandoned, reader] if one.alive]

    def _retry(self, seconds: float) -> None:
        time.sleep(max(0.0, min(seconds, self._retry_at - time.monotonic())))
        self._abandoned = [one for one in self._abandoned if one.alive]
        if time.monotonic() >= self._retry_at and len(self._abandoned) < _ABANDONED:
            self._reader = self._open()


def _no_frame(source: Source) -> str:
    if source.live:
        return f"{source.name} gave no frame: check that it is up, and that its format can be decoded"
    return f"{source.name} has no frame that can be read: it is empty, damaged, or of an unknown codec"
