"""Notifications of visits with their picture, through Apprise: phones, mail, chats."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit
from hmdrn_runtime.credentials import MASK
from hmdrn_runtime.errors import HmdrnError, MissingDependencyError
from hmdrn_runtime.messages import format_error

EVERY_SECONDS = 300.0
"""Seconds between two notifications of one species."""
_MAX_WAITING = 20
"""Notifications that wait at most while the network is away; further ones are left out."""
_CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for notifications on their way."""


class Notifier:
    """Sends a notification for each visit that has ended, in a thread of its own.

    Args:
        addresses: Apprise's addresses, such as ntfy://topic or mailto://...
        store: Has the visits' pictures.
        every: Seconds between two notifications of one species, at least 0.
        report: Called, once, if a notification cannot be sent.

    Raises:
        HmdrnError: Apprise does not know an address.
        MissingDependencyError: Apprise is not installed.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        store: VisitStore,
        every: float = EVERY_SECONDS,
        report: Callable[[str], None] = lambda message: None,
    ) -> None:
        try:
            from apprise import Apprise
        except ImportError as error:
            raise MissingDependencyError("apprise", "sending notifications", "notify") from error
        self._apprise = Apprise()
        for address in addresses:
            if not self._apprise.add(address):
                scheme, separator, _ = address.partition("://")
                shown = (
                    f"{scheme}{separator}{MASK}" if separator else MASK
                )  # the rest may be a token anywhere
                raise HmdrnError(f"cannot notify {shown!r}: give an address of Apprise, such as ntfy://topic")
        self._store, self._every, self._report = store, every, report
        self._last: dict[str, float] = {}
        self._is_reported = False
        self._visits: queue.Queue[Visit | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="hmdrn-notify", daemon=True)
        self._thread.start()

    def publish(self, visit: Visit) -> None:
        """Send a visit, unless its species was sent shortly before; returns at once."""
        now, species = time.monotonic(), visit.naming.text
        if now - self._last.get(species, -self._every) < self._every:
            return
        self._last[species] = now
        try:
            self._visits.put_nowait(visit)
        except queue.Full:
            self._fail("notifications are not sent: too many wait")

    def close(self) -> None:
        """Wait some seconds for notifications on their way."""
        try:
            self._visits.put(None, timeout=_CLOSE_TIMEOUT)
            self._thread.join(_CLOSE_TIMEOUT)
        except queue.Full:
            pass

    def _run(self) -> None:
        while (visit := self._visits.get()) is not None:
            try:
                if not self._send(visit):
                    self._fail("a notification was not sent: check its address, and the network")
            except Exception as error:  # a plugin of Apprise may raise anything, and must not end the thread
                self._fail(f"a notification was not sent ({format_error(error)}): check its address")

    def _send(self, visit: Visit) -> bool:
        from apprise.attachment.memory import AttachMemory

        attach: Any = AttachMemory  # has no types
        attachments = [
            attach(self._store.read_picture(picture.id), f"visit-{visit.id}.jpg", "image/jpeg")
            for picture in visit.pictures[:1]
        ]
        return bool(
            self._apprise.notify(describe(visit), title=visit.naming.text, attach=attachments or None)
        )

    def _fail(self, message: str) -> None:
        if not self._is_reported:
            self._is_reported = True
            self._report(message)


def describe(visit: Visit) -> str:
    """Return a visit in one line: time, duration, evidence, source."""
    naming = visit.naming
    parts = [f"{visit.start.astimezone():%Y-%m-%d %H:%M}", f"{visit.duration:.0f} s"]
    if naming.probability is not None:
        parts.append(f"{100 * naming.probability:.0f} %")
    elif naming.nearest is not None:
        parts.append(f"most like {naming.nearest}")
    return ", ".join([*parts, visit.source])
