"""The last seconds of a camera, which all clips are cut from."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

RATE = 10
"""Frames a second of a clip."""
MAX_SECONDS = 30.0
"""Longest clip: of a visit that goes on, it shows the beginning."""
MAX_BYTES = 32 * 10**6
"""Bytes that all frames may have together, those of clips that wait to be encoded included."""
_SLACK_SECONDS = 5.0
"""Seconds that frames stay longer than a clip lasts: the end of a visit is noticed after it."""


@dataclass(eq=False)
class ClipFrame:
    """A frame.

    Attributes:
        slot: Its time, in whole tenths of a second (`RATE`).
        jpeg: Its picture.
        holders: Number of users: the buffer itself, and the clips that it was taken for.
    """

    slot: int
    jpeg: bytes
    holders: int = 1


class ClipBuffer:
    """Keeps the frames of the last seconds as JPEG, ten a second at most; safe in several threads.

    A frame that clips were taken for counts until they release it, so that the limit holds for all together.

    Args:
        max_bytes: Most bytes of all frames.
        max_seconds: Age at which frames leave the buffer.

    Attributes:
        size: Bytes of all frames.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS + _SLACK_SECONDS) -> None:
        self._max_bytes, self._max_slots = max_bytes, round(max_seconds * RATE)
        self._frames: deque[ClipFrame] = deque()
        self._lock = threading.Lock()
        self.size: int = 0

    def is_due(self, clock: float) -> bool:
        """Return whether the buffer has no frame of this tenth of a second yet."""
        return not self._frames or _find_slot(clock) != self._frames[-1].slot

    def add(self, clock: float, jpeg: bytes) -> None:
        """Add a frame.

        Args:
            clock: Its time in seconds; one that runs backwards empties the buffer.
            jpeg: Its picture; one that does not fit beside the clips that wait is left out.
        """
        slot = _find_slot(clock)
        with self._lock:
            is_backwards = bool(self._frames) and self._frames[-1].slot > slot
            oldest = slot - self._max_slots
            self._discard([frame for frame in self._frames if is_backwards or frame.slot <= oldest])
            if self.size + len(jpeg) > self._max_bytes:
                self._make_room(len(jpeg))
            if self.size + len(jpeg) <= self._max_bytes:
                self._frames.append(ClipFrame(slot, jpeg))
                self.size += len(jpeg)

    def take(self, start: float, end: float) -> tuple[ClipFrame, ...]:
        """Return the frames from one time to another; `release` them after use."""
        first, last = _find_slot(start), _find_slot(end)
        with self._lock:
            frames = tuple(frame for frame in self._frames if first <= frame.slot <= last)
            for frame in frames:
                frame.holders += 1
        return frames

    def release(self, frames: Iterable[ClipFrame]) -> None:
        """Give frames back that `take` returned."""
        with self._lock:
            for frame in frames:
                self._drop(frame)

    def _make_room(self, incoming: int) -> None:
        """Discard the oldest frames that no clip holds: to discard the others would free nothing."""
        excess, discarded = self.size + incoming - self._max_bytes, []
        for frame in self._frames:
            if excess > 0 and frame.holders == 1:
                excess -= len(frame.jpeg)
                discarded.append(frame)
        self._discard(discarded)

    def _discard(self, frames: Iterable[ClipFrame]) -> None:
        for frame in frames:
            self._frames.remove(frame)
            self._drop(frame)

    def _drop(self, frame: ClipFrame) -> None:
        frame.holders -= 1
        if not frame.holders:
            self.size -= len(frame.jpeg)


def _find_slot(clock: float) -> int:
    return int(clock * RATE // 1)
