"""The thread that reads a source, and the place where its newest frame waits."""

from __future__ import annotations

import contextlib
import threading
import time

from hmdrn.watching import READING
from hmdrn.watching.captures import open_capture
from hmdrn.watching.frames import Frame
from hmdrn.watching.sources import Source
from hmdrn_runtime.errors import HmdrnError, SourceError
from hmdrn_runtime.messages import one_line


class Reader:
    """Reads one opening of a source in a thread of its own.

    One frame waits at most. A newer one takes its place, which counts as a drop; or, with `every_frame`,
    reading waits until it has been taken.

    Args:
        source: What to open and read, in the thread: neither may hold up who takes the frames.
        every_frame: Whether to wait instead of dropping.
        stall_after: See `captures.open_capture`.
        first: Index of the first frame.
        began: When watching began, on the monotonic clock.
    """

    def __init__(
        self, source: Source, every_frame: bool, stall_after: float, first: int, began: float
    ) -> None:
        self._source, self._every_frame, self._stall_after = source, every_frame, stall_after
        self._index, self._began = first, began
        self._waiting: Frame | None = None
        self._changed = threading.Condition()
        self._closed = False
        self.rate = 0.0
        """Frames a second that the source tells; 0 until it is open."""
        self.missing = 0
        """Frames that a file promises and that were not in it, once it has ended."""
        self.dropped = 0
        self.ended = False
        self.fault: HmdrnError | None = None
        """Why it ended, where that was no end of a file."""
        self.heard = time.monotonic()
        """When it last gave a frame, on the monotonic clock; at first, when it was opened."""
        self._thread = threading.Thread(target=self._run, name=READING, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread still runs, be it that it hangs in the driver."""
        return self._thread.is_alive()

    def take(self, seconds: float) -> Frame | None:
        """The newest frame, or None if none comes within some seconds or ever."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self.ended, seconds)
            frame, self._waiting = self._waiting, None
            self._changed.notify_all()
            return frame

    def close(self, seconds: float = 0.0) -> None:
        """End the thread, and wait for it for some seconds: a driver that hangs cannot be interrupted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        fault: HmdrnError | None = None
        try:
            self._read()
        except HmdrnError as error:
            fault = error
        except Exception as error:
            # Of any type, from a driver or decoder; a thread that dies in silence would look like a stall.
            fault = SourceError(f"reading {self._source.name} failed: {one_line(error)}")
        with self._changed:
            self.fault, self.ended = fault, True
            self._changed.notify_all()

    def _read(self) -> None:
        with contextlib.closing(open_capture(self._source, self._stall_after)) as capture:
            self.rate = capture.rate
            begin = self.heard = time.monotonic()
            paced = not self._source.live and not self._every_frame
            read = 0
            while not self._closed:
                pixels = capture.read()
                if pixels is None:
                    self.missing = max(0, capture.frames - read)
                    return
                if paced:
                    self._rest(begin + read / capture.rate)
                captured = time.monotonic()
                position = captured - self._began if self._source.live else self._index / capture.rate
                self._put(Frame(self._index, position, time.time(), captured, pixels))
                self._index += 1
                read += 1

    def _rest(self, until: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, max(0.0, until - time.monotonic()))

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self._every_frame:
                self._changed.wait_for(lambda: self._waiting is None or self._closed)
            if self._closed:
                return
            self.dropped += self._waiting is not None
            self._waiting = frame
            self.heard = time.monotonic()
            self._changed.notify_all()
