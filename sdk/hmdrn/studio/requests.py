"""Answering requests in threads, with mistakes shown on the page they were made on."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hmdrn.studio.uploads import MAX_PHOTOS, Upload, describe_excess
from hmdrn_runtime.errors import HmdrnError

_MAX_NOTICES = 200
_MAX_FIELD = 1 << 20
_READ_VERSION: ContextVar[Callable[[], str] | None] = ContextVar("read_version", default=None)
_VERSION: ContextVar[str | None] = ContextVar("version", default=None)


@dataclass(frozen=True)
class Sent:
    """The content of a request.

    Attributes:
        query: Parameters of the address.
        fields: Fields of the form.
        uploads: Files of the form.
        range: Part of a file that a player asks for, the header `Range`; empty for all of it.
    """

    query: dict[str, str]
    fields: dict[str, list[str]] = field(default_factory=dict)
    uploads: Sequence[Upload] = ()
    range: str = ""

    def text(self, name: str) -> str:
        """Return a field, empty if it is missing."""
        return self.fields.get(name, [""])[0]

    def number(self, name: str) -> int:
        """Return a field that is a whole number.

        Raises:
            HmdrnError: It is not.
        """
        text = self.text(name)
        if not text.isdecimal() or len(text) > 9:
            raise HmdrnError(f"{name} is {text[:40]!r}: give a whole number")
        return int(text)


Handler: TypeAlias = Callable[[Sent], Response]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Notices:
    """Messages that the next page shows, by random numbers, so that no link can put words into a page."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, tuple[str, bool]] = OrderedDict()
        self._lock = threading.Lock()

    def redirect(self, path: str, text: str = "", is_error: bool = False) -> RedirectResponse:
        """Return the way to a page that shows a message."""
        if not text:
            return RedirectResponse(path, 303)
        number = secrets.token_urlsafe(9)
        with self._lock:
            self._texts[number] = (text, is_error)
            while len(self._texts) > _MAX_NOTICES:
                self._texts.popitem(last=False)
        address, mark, place = path.partition("#")
        query = f"{'&' if '?' in address else '?'}notice={quote(number)}"
        return RedirectResponse(f"{address}{query}{mark}{place}", 303)

    def find(self, sent: Sent) -> tuple[str, bool] | None:
        """Return the message of a request's address."""
        with self._lock:
            return self._texts.get(sent.query.get("notice", ""))


def track_version(app: ASGIApp, read: Callable[[], str]) -> ASGIApp:
    """Return an application whose pages carry the version that `read` returned before they were made.

    What changes while a page is made may be missing from it: with the version of afterwards, the page would
    never notice.
    """

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        _READ_VERSION.set(read)
        await app(scope, receive, send)

    return run


def find_version() -> str | None:
    """Return the version from before the present page was begun; None if it is not known."""
    return _VERSION.get()


def answer(handler: Handler) -> Endpoint:
    """Answer a GET with a function, which runs in a thread; an HmdrnError becomes a line of text."""

    def handle(sent: Sent, is_page: bool) -> Response:
        read = _READ_VERSION.get()
        if is_page and read is not None:
            _VERSION.set(read())
        return handler(sent)

    async def respond(request: Request) -> Response:
        is_page = "text/html" in request.headers.get("accept", "")
        sent = Sent(dict(request.query_params), range=request.headers.get("range", ""))
        try:
            return await run_in_threadpool(handle, sent, is_page)
        except HmdrnError as error:
            return PlainTextResponse(f"{error}\n", 404)

    return respond


def change(handler: Handler, page: str, notices: Notices) -> Endpoint:
    """Answer a POST with a function, which runs in a thread; an HmdrnError is shown on a page."""

    async def respond(request: Request) -> Response:
        try:
            async with request.form(max_files=MAX_PHOTOS, max_part_size=_MAX_FIELD) as form:
                return await run_in_threadpool(handler, _read_form(request, form))
        except ClientDisconnect:
            return PlainTextResponse("the request was too large, or broke off\n", 413)
        except HTTPException as error:  # of the form's parser
            is_excess = error.detail.startswith("Too many files")
            return notices.redirect(page, describe_excess() if is_excess else error.detail, is_error=True)
        except HmdrnError as error:
            return notices.redirect(page, str(error), is_error=True)

    return respond


def _read_form(request: Request, form: FormData) -> Sent:
    fields: dict[str, list[str]] = {}
    uploads: list[Upload] = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields.setdefault(name, []).append(value)
        elif value.filename:  # browsers send an empty part where no file was chosen
            uploads.append(Upload(value.filename, value.file, name))
    return Sent(dict(request.query_params), fields, uploads)
