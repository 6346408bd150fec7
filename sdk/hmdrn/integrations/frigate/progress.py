"""The state of `hmdrn frigate`, for supervisors."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from hmdrn.integrations.frigate.event_namer import EventNamer
from hmdrn.integrations.frigate.events import FrigateEvents
from hmdrn.watching.status import DiaryStatus, LoopMonitor, WatchStatus, read_memory
from hmdrn_runtime.recognizer import Recognizer


class FrigateProgress:
    """The steps of the loop that names Frigate's events, for other threads.

    Args:
        source: Frigate's address, without a password.
        recognizer: Names the pictures.
        namer: Names the events.
        events: Receives them.
    """

    def __init__(self, source: str, recognizer: Recognizer, namer: EventNamer, events: FrigateEvents) -> None:
        self._source, self._recognizer, self._namer, self._events = source, recognizer, namer, events
        self._start = time.monotonic()
        self._monitor = LoopMonitor(self._start)
        self._last: float | None = None
        self._count = 0

    def step(self, has_event: bool) -> None:
        """Note that the loop goes on, and whether there was an event."""
        now = time.monotonic()
        if has_event:
            self._last, self._count = now, self._count + 1
        self._monitor.step(now, self._count)

    def status(self) -> WatchStatus:
        """Return the present state; hours without an event are usual."""
        now, namer, last = time.monotonic(), self._namer, self._namer.last
        loop_age, rate = self._monitor.measure(now)
        end = None if last is None or last.event.end is None else last.event.end
        return WatchStatus(
            self._source,
            now - self._start,
            self._count,
            namer.pictures,
            rate=rate,
            frame_age=None if self._last is None else now - self._last,
            loop_age=loop_age,
            waits=True,
            is_lost=namer.is_failing or not self._events.is_connected,
            generation=self._recognizer.gallery.generation,
            memory=read_memory(),
            diary=DiaryStatus(
                namer.visits,
                last=None if last is None else last.naming.text,
                last_end=None if end is None else datetime.fromtimestamp(end, timezone.utc),
            ),
        )
