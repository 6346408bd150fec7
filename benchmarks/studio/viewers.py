"""Viewers of the live picture."""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PART = b"Content-Type: image/jpeg"
_REQUEST = b"GET /live/picture HTTP/1.1\r\nHost: localhost\r\n\r\n"
_POLL_SECONDS = 0.7
"""Seconds between two requests of a page for names and figures."""
_RETRY_SECONDS = 1.0
"""Seconds after which a refused viewer comes back."""


class Crowd:
    """Connections that all ask for the live picture; one that is refused comes back after a second.

    Attributes:
        pictures: Pictures that they received.
        refused: Connections that were refused.
    """

    def __init__(self, port: int, connections: int) -> None:
        self.pictures = self.refused = 0
        self._port, self._connections = port, connections
        self._stopped = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        waiting = [0.0] * self._connections
        """Moments at which connections are opened."""
        with self._selector:
            while not self._stopped.is_set():
                while waiting and waiting[0] <= time.monotonic():
                    heapq.heappop(waiting)
                    if not self._open():
                        heapq.heappush(waiting, time.monotonic() + _RETRY_SECONDS)
                for key, _ in self._selector.select(0.05):
                    if not self._receive(key):
                        heapq.heappush(waiting, time.monotonic() + _RETRY_SECONDS)
            for key in list(self._selector.get_map().values()):
                self._close(key)

    def _open(self) -> bool:
        try:
            client = socket.create_connection(("127.0.0.1", self._port), 5)
            client.sendall(_REQUEST)
        except OSError:
            self.refused += 1
            return False
        client.setblocking(False)
        self._selector.register(client, selectors.EVENT_READ)
        return True

    def _receive(self, key: selectors.SelectorKey) -> bool:
        data = b""
        with contextlib.suppress(OSError):
            data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
        self.pictures += data.count(_PART)
        if data and not data.startswith(b"HTTP/1.1 503"):
            return True
        self.refused += 1
        self._close(key)
        return False

    def _close(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        key.fileobj.close()  # type: ignore[union-attr]


@contextmanager
def open_page(port: int) -> Iterator[Crowd]:
    """Look at the live page: its picture, and the names and figures that it asks for."""
    stopped = threading.Event()

    def poll() -> None:
        while not stopped.wait(_POLL_SECONDS):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"GET /live/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                while client.recv(1 << 16):
                    pass

    thread = threading.Thread(target=poll)
    with Crowd(port, 1) as viewer:
        thread.start()
        try:
            yield viewer
        finally:
            stopped.set()
            thread.join()
