"""A small HTTP endpoint that says whether a command does its work."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from hmdrn.watching.status import SILENCE_SECONDS, WatchStatus, assess_health
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error

PATH = "/health"
SCHEMA = "hmdrn.health/1"
_LOOPBACK = "127.0.0.1"
_REQUEST_SECONDS = 5.0
"""Seconds that a client may take over its request."""


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, [IPV6]:PORT or PORT, which is on this computer alone.

    Raises:
        HmdrnError: The text is not an address.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise HmdrnError(f"{text!r} is not an address: give a port, such as 8321, or HOST:PORT")
    return host.strip("[]") or _LOOPBACK, int(port)


class HealthServer:
    """Answers GET /health, in daemon threads, until it is closed.

    The answer is 200 if all is well, else 503, with the state as JSON.

    Args:
        address: As for `parse_address`; port 0 is any free one.
        read_status: Returns the present state; called in other threads.
        silence: See `assess_health`.

    Attributes:
        url: The address to ask.

    Raises:
        HmdrnError: The address is wrong, or in use.
    """

    def __init__(
        self, address: str, read_status: Callable[[], WatchStatus], silence: float = SILENCE_SECONDS
    ) -> None:
        host, port = parse_address(address)

        class Handler(_Handler):
            def report(self) -> tuple[int, dict[str, Any]]:
                status = read_status()
                health = assess_health(status, silence)
                values = {"schema": SCHEMA, "healthy": health.is_ok, "state": health.state}
                return 200 if health.is_ok else 503, {**values, **status.to_dict()}

        try:
            family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = _make_server(family, place, Handler)
        except OSError as error:
            raise HmdrnError(
                f"cannot answer at {address!r}: {describe_os_error(error)}; give another HOST:PORT"
            ) from error
        host, port = self._server.socket.getsockname()[:2]
        self.url: str = f"http://[{host}]:{port}{PATH}" if ":" in host else f"http://{host}:{port}{PATH}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="hmdrn-health", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the answers, and free the port."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS

    def version_string(self) -> str:
        """Return the name of the server, without the version of Python."""
        return "hmdrn"

    def report(self) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the answer."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer with the state."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"only {PATH} is here")
            return
        code, values = self.report()
        body = json.dumps(values).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        """Answer without the state itself."""
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing: standard error is for what happens."""


def _make_server(
    family: int, place: tuple[Any, ...], handler: type[BaseHTTPRequestHandler]
) -> socketserver.TCPServer:
    # Not http.server's own class: it looks up the host's name, which can take long without a network.
    class Server(socketserver.ThreadingTCPServer):
        address_family = family
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Print nothing of a client that went away."""

    return Server(place, handler)
