"""The thread that reads a source and holds its newest frame."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from hmdrn.watching.captures import open_capture
from hmdrn.watching.film_time import find_film_start
from hmdrn.watching.frames import Frame
from hmdrn.watching.opencv import READER_THREAD_NAME
from hmdrn.watching.sources import Source
from hmdrn.watching.unchanged import Unchanged
from hmdrn_runtime.errors import HmdrnError, SourceError
from hmdrn_runtime.images.capture_time import find_capture_time
from hmdrn_runtime.messages import format_error


class ReaderThread:
    """Reads a source, once opened, in a separate thread.

    At most one frame waits. A newer one replaces it and counts as a drop; with `every_frame`, reading waits
    until the frame has been taken.

    Args:
        source: The source to open and read, in the thread: neither may block the caller.
        every_frame: Whether to wait instead of dropping.
        stall_after: See `captures.open_capture`.
        first_index: Index of the first frame.
        start: Time when watching began, on the monotonic clock.

    Attributes:
        rate: Frames a second, as the source reports it; 0 until it is open.
        missing: Frames that a file reports but does not contain, once it has ended.
        dropped: Frames that newer ones replaced.
        ended: Whether there will be no more frames.
        error: The reason if it did not end as a file does.
        last_frame_time: Time of the last frame on the monotonic clock; of the start before the first.
        has_frame: Whether it gave a frame, or a picture that had not changed.
    """

    dropped: int

    missing: int

    ended: bool

    has_frame: bool

    def __init__(
        self, source: Source, every_frame: bool, stall_after: float, first_index: int, start: float
    ) -> None:
        self._source, self._every_frame, self._stall_after = source, every_frame, stall_after
        self._index, self._start = first_index, start
        self._pending: Frame | None = None
        self._changed = threading.Condition()
        self._closed = self.ended = self.has_frame = False
        self.rate: float = 0.0
        self.missing = self.dropped = 0
        self.error: HmdrnError | None = None
        self.last_frame_time: float = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=READER_THREAD_NAME, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while the thread is alive, even if blocked in the driver."""
        return self._thread.is_alive()

    def take(self, seconds: float) -> Frame | None:
        """Return the newest frame, or None if there is none within some seconds or ever."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending is not None or self.ended, seconds)
            frame, self._pending = self._pending, None
            self._changed.notify_all()
            return frame

    def close(self, seconds: float = 0.0) -> None:
        """End the thread, and wait some seconds for it: a driver that hangs cannot be interrupted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        error: HmdrnError | None = None
        try:
            self._read()
        except HmdrnError as cause:
            error = cause
        except Exception as cause:
            # Of any type, from a driver or decoder; a thread that dies silently would look like a stall.
            error = SourceError(f"reading {self._source.name} failed: {format_error(cause)}")
        with self._changed:
            self.error, self.ended = error, True
            self._changed.notify_all()

    def _read(self) -> None:
        source, stall_after = self._source, self._stall_after
        with contextlib.closing(open_capture(source, stall_after, lambda: self._closed)) as capture:
            self.rate = capture.rate
            begin = self.last_frame_time = time.monotonic()
            paced = not self._source.live and not self._every_frame
            film_start = self._find_film_start(capture.frames, capture.rate)
            count = 0
            while not self._closed:
                pixels = capture.read()
                if isinstance(pixels, Unchanged):
                    self.last_frame_time, self.has_frame = time.monotonic(), True
                    continue
                if pixels is None:
                    self.missing = max(0, capture.frames - count)
                    return
                if paced:
                    with self._changed:
                        delay = begin + count / capture.rate - time.monotonic()
                        self._changed.wait_for(lambda: self._closed, max(0.0, delay))
                captured = time.monotonic()
                position = captured - self._start if self._source.live else self._index / capture.rate
                if isinstance(pixels, Path):
                    taken = find_capture_time(pixels).timestamp()
                else:
                    taken = time.time() if film_start is None else film_start + position
                self._put(Frame(self._index, position, taken, captured, pixels))
                self._index += 1
                count += 1

    def _find_film_start(self, frames: int, rate: float) -> float | None:
        """Return when a film of this length begins, in seconds since 1970; None for the present time."""
        source = self._source
        if source.path is None or not source.is_recording:
            return None
        return find_film_start(source.path, frames / rate) if source.start is None else source.start

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self._every_frame:
                self._changed.wait_for(lambda: self._pending is None or self._closed)
            if self._closed:
                return
            self.dropped += self._pending is not None
            self._pending = frame
            self.last_frame_time, self.has_frame = time.monotonic(), True
            self._changed.notify_all()
