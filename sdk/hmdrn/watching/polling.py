"""Cameras that answer each HTTP request with one picture, asked again and again."""

from __future__ import annotations

import http.client
import time
import urllib.request
from collections.abc import Callable
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt

from hmdrn.watching.sources import Source
from hmdrn.watching.unchanged import UNCHANGED, Unchanged
from hmdrn_runtime.errors import ImageError, SourceError
from hmdrn_runtime.images.decoding import load_image

DEFAULT_SECONDS = 1.0
"""Seconds between two requests to an address that turns out to serve single pictures."""
_MAX_BYTES = 64 << 20
_WAIT_SECONDS = 0.1
_VALIDATORS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
"""Headers of an answer, and those of the next request that ask whether the picture has changed since."""


class PollingCapture:
    """Pictures of an address, one for each GET. The first is requested at once.

    Args:
        source: The address.
        seconds: Seconds between two requests, above 0.
        timeout: Seconds that an answer may take.
        is_closed: Returns True when reading must end.

    Attributes:
        rate: Requests a second.
        frames: 0, since there is no end.
    """

    frames: int = 0

    def __init__(self, source: Source, seconds: float, timeout: float, is_closed: Callable[[], bool]) -> None:
        self.rate: float = 1 / seconds
        self._name, self._is_closed = source.name, is_closed
        self._seconds, self._timeout = seconds, timeout
        self._url, self._opener = _open_address(source)
        self._next = time.monotonic()
        self._validators: dict[str, str] = {}
        self._last = b""

    def read(self) -> npt.NDArray[np.uint8] | Unchanged | None:
        """Return the next picture, BGR; `UNCHANGED` if it is the one of before. Blocks; None once closed.

        Raises:
            SourceError: No answer, or the first is not a picture; later, damaged ones are skipped.
        """
        while self._wait():
            data = self._request()
            if data is None or data == self._last:
                return UNCHANGED
            try:
                image = load_image(data)
            except ImageError as error:
                if not self._last:
                    raise SourceError(f"{self._name} does not serve a picture ({error})") from error
                continue
            self._last = data
            return np.ascontiguousarray(np.asarray(image)[..., ::-1])
        return None

    def close(self) -> None:
        """Do nothing: each request has a connection of its own."""

    def _wait(self) -> bool:
        """Wait for the next request's time; return False once closed."""
        while (left := self._next - time.monotonic()) > 0 and not self._is_closed():
            time.sleep(min(left, _WAIT_SECONDS))
        self._next = time.monotonic() + self._seconds
        return not self._is_closed()

    def _request(self) -> bytes | None:
        """Return the content at the address, None if it has not changed."""
        request = urllib.request.Request(self._url, headers={"User-Agent": "hmdrn", **self._validators})
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                if answer.headers.get_content_maintype() == "multipart":
                    raise SourceError(f"{self._name} serves a stream, not single pictures: leave out poll")
                data: bytes = answer.read(_MAX_BYTES)
                headers = answer.headers
        except HTTPError as error:
            error.close()
            if error.code == http.client.NOT_MODIFIED:
                return None
            advice = ": check the user and password" if error.code in (401, 403) else ""
            raise SourceError(f"{self._name} answers with error {error.code}{advice}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Not chained: texts of these errors hold parts of the address.
            raise SourceError(f"{self._name} does not answer ({_describe(error)})") from None
        self._validators = {ask: headers[name] for name, ask in _VALIDATORS.items() if headers[name]}
        return data


def serves_pictures(source: Source, timeout: float) -> bool:
    """Return whether an address answers with one picture; False for streams and if it does not answer."""
    try:
        url, opener = _open_address(source)
        request = urllib.request.Request(url, headers={"User-Agent": "hmdrn"})
        with opener.open(request, timeout=timeout) as answer:
            return bool(answer.headers.get_content_maintype() == "image")
    except (OSError, http.client.HTTPException, ValueError, SourceError):
        return False


def _open_address(source: Source) -> tuple[str, urllib.request.OpenerDirector]:
    """Return an address without its login, and an opener that knows the login."""
    try:
        parts = urlsplit(str(source.target))
    except ValueError:
        raise SourceError(f"{source.name} is not a valid address: check it") from None
    login, _, host = parts.netloc.rpartition("@")
    url = quote(urlunsplit(parts._replace(netloc=host)), safe="%/:=&?~#+!$,;'@()*[]")
    user, _, password = login.partition(":")
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, unquote(user), unquote(password))
    handlers = (urllib.request.HTTPBasicAuthHandler, urllib.request.HTTPDigestAuthHandler) if login else ()
    return url, urllib.request.build_opener(*(handler(passwords) for handler in handlers))


def _describe(error: Exception) -> str:
    if isinstance(error, http.client.InvalidURL | ValueError):
        return "the address is not valid"
    reason = error.reason if isinstance(error, URLError) else error
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
