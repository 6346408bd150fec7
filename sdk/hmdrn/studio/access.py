"""The gate before every page: who may come in, from where, and with how much.

Loopback needs no token, but the name in the address must be this machine's: a page elsewhere could otherwise
reach the studio by a name of its own that it lets resolve to 127.0.0.1. On any other address the link's token
starts a session, which a cookie carries and which expires.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_UPLOAD = 256 * 10**6
"""Most bytes of one request."""
SESSION_SECONDS = 12 * 3600
"""Seconds after which a session needs the link again."""
COOKIE = "hmdrn_studio"
_MAX_SESSIONS = 1000
_SAFE = ("GET", "HEAD", "OPTIONS")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
"""Headers of every answer. The policy lets a page load nothing from elsewhere, and run no script but ours."""


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is that of this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass
class Access:
    """The rules of a server.

    Attributes:
        token: Secret of the link; None on loopback.
        max_bytes: Most bytes of a request.
        secure: Whether the server has a certificate.
        sessions: Time of expiry on the monotonic clock by the hash of each session's secret.
    """

    token: str | None = None
    max_bytes: int = MAX_UPLOAD
    secure: bool = False
    sessions: dict[str, float] = field(default_factory=dict)

    @classmethod
    def for_host(cls, host: str, secure: bool = False) -> Access:
        """Return the rules for an address to listen on: with a new token unless it is loopback."""
        return cls(None if is_loopback(host) else secrets.token_urlsafe(24), secure=secure)

    def open_session(self) -> str:
        """Return the secret of a new session."""
        now = time.monotonic()
        self.sessions = {key: end for key, end in self.sessions.items() if end > now}
        while len(self.sessions) >= _MAX_SESSIONS:
            del self.sessions[next(iter(self.sessions))]
        secret = secrets.token_urlsafe(24)
        self.sessions[_hash(secret)] = now + SESSION_SECONDS
        return secret

    def has_session(self, secret: str) -> bool:
        """Return whether a session exists and has not expired."""
        return self.sessions.get(_hash(secret), 0.0) > time.monotonic()

    def is_token(self, text: str) -> bool:
        """Return whether a text is the link's token, in constant time."""
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())


class Gate:
    """Refuses requests that the rules do not allow, and adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no WebSockets
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] += [pair for pair in extra if pair[0] not in own]
            await send(message)

        answer = self._refuse(scope) or self._check_session(scope)
        if answer is not None:
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, _limit(receive, self._access.max_bytes), send_with_headers)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._access.token is None and not is_loopback(_host_name(host)):
            return PlainTextResponse("this studio answers to localhost only\n", 403)
        if "upgrade" in headers:
            return PlainTextResponse("there are no WebSockets here\n", 403)
        if scope["method"] not in _SAFE:
            origin = headers.get("origin")
            site = headers.get("sec-fetch-site", "same-origin")
            is_foreign = origin is not None and urlsplit(origin).netloc != host
            if is_foreign or site not in ("same-origin", "none"):
                return PlainTextResponse("requests from other sites are refused\n", 403)
            if _declared_length(headers) > self._access.max_bytes:
                megabytes = self._access.max_bytes // 10**6
                return PlainTextResponse(f"at most {megabytes} MB at once, please\n", 413)
        return None

    def _check_session(self, scope: Scope) -> Response | None:
        """Return the answer to a stranger, or the one that starts a session; None for a guest."""
        access = self._access
        if access.token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        if tokens and scope["method"] == "GET" and access.is_token(tokens[0]):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            # "//host" would be another site's address.
            path = "/" + scope["path"].lstrip("/\\")
            answer = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
            answer.set_cookie(
                COOKIE,
                access.open_session(),
                SESSION_SECONDS,
                httponly=True,
                samesite="lax",
                secure=access.secure,
            )
            return answer
        if access.has_session(_read_cookie(Headers(scope=scope).get("cookie", ""))):
            return None
        return PlainTextResponse("open the link that hmdrn studio has printed: it has the token\n", 401)


def _limit(receive: Receive, max_bytes: int) -> Receive:
    """Return a `receive` that ends a request whose body grows beyond a limit that it did not declare."""
    count = 0

    async def receive_limited() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        return message if count <= max_bytes else {"type": "http.disconnect"}

    return receive_limited


def _declared_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _host_name(host: str) -> str:
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _read_cookie(header: str) -> str:
    try:
        cookie = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if cookie is None else cookie.value


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
