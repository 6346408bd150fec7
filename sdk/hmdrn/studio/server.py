"""The server of hmdrn studio."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from hmdrn.studio.access import Access, Gate
from hmdrn.studio.connections import PatientProtocol
from hmdrn.studio.live import LiveView
from hmdrn.studio.pages import (
    classify,
    enroll,
    enroll_visits,
    gallery,
    jobs,
    live,
    models,
    selftest,
    species,
    visits,
)
from hmdrn.studio.requests import Notices, Sent, answer, track_version
from hmdrn.studio.session import StudioSession
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error

MAX_CONNECTIONS = 100
"""Connections at once; further ones get 503."""
_STATIC = Path(__file__).parent / "static"


def create_app(session: StudioSession, access: Access, view: LiveView | None = None) -> ASGIApp:
    """Return the pages behind their gate, as an ASGI application."""
    notices = Notices()
    if view is not None:
        session.followers.append(view.use)

    def send_version(sent: Sent) -> Response:
        return PlainTextResponse(session.version)

    def go_home(sent: Sent) -> Response:
        page = "/live" if view is not None else "/gallery" if len(session.gallery) else "/enroll"
        return RedirectResponse(page, 303)

    routes: list[BaseRoute] = [
        Route("/", answer(go_home)),
        Route("/version", answer(send_version)),
        Mount("/static", StaticFiles(directory=_STATIC)),
        *gallery.list_routes(session, notices),
        *species.list_routes(session, notices),
        *enroll.list_routes(session, notices),
        *enroll_visits.list_routes(session, notices),
        *classify.list_routes(session, notices),
        *live.list_routes(session, view, notices),
        *jobs.list_routes(session, notices),
        *models.list_routes(session, notices),
        *selftest.list_routes(session, notices),
        *visits.list_routes(session, notices),
    ]
    return Gate(track_version(Starlette(routes=routes), lambda: session.version), access)


def make_server(
    app: ASGIApp, host: str, port: int, certificate: Path | None = None, key: Path | None = None
) -> uvicorn.Server:
    """Return a server that is not running yet; TLS with a certificate and its key, in PEM.

    Raises:
        HmdrnError: The certificate or its key cannot be used.
    """
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what visitors send wrong is theirs
    logging.getLogger("uvicorn.error").addFilter(_is_fault)
    config = uvicorn.Config(
        app,
        host,
        port,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2,
        ssl_certfile=None if certificate is None else str(certificate),
        ssl_keyfile=None if key is None else str(key),
    )
    try:
        config.load()
    except OSError as error:  # also those of ssl
        raise HmdrnError(
            f"cannot use the certificate {certificate} ({describe_os_error(error)}): give PEM files of it "
            "and its key"
        ) from error
    return uvicorn.Server(config)


def _is_fault(record: logging.LogRecord) -> bool:
    """Return False for requests that the end of the server breaks off."""
    is_cancelled = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not is_cancelled and "graceful shutdown" not in record.getMessage()


@contextmanager
def run_in_thread(app: ASGIApp) -> Iterator[str]:
    """Run a server on a free port of loopback beside the caller, and yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = make_server(app, "127.0.0.1", port)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def describe_links(host: str, port: int, access: Access, addresses: Sequence[str] = ()) -> list[str]:
    """Return the links to open, with the token if there is one; `addresses` are this device's."""
    scheme = "https" if access.secure else "http"
    query = "" if access.token is None else f"/?token={access.token}"
    hosts = addresses if host in ("0.0.0.0", "::") and addresses else [host]
    return [f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{query}" for name in hosts]
