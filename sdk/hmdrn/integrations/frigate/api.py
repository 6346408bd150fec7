"""Frigate's HTTP API, as far as naming its events needs it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from hmdrn_runtime.credentials import mask_secrets
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.messages import format_error

TIMEOUT = 10.0
"""Seconds that one request may take."""
MAX_BYTES = 32 << 20
"""Most bytes of a picture."""
NOT_SUPPORTED = (400, 404, 405)
"""Statuses of an answer about attributes that this Frigate does not have."""
MAX_SUB_LABEL = 100
"""Most characters of a sub-label."""


class FrigateError(Exception):
    """A request that Frigate refused, or did not answer.

    Attributes:
        status: The HTTP status of its answer; None if there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status: int | None = status


class FrigateApi:
    """Requests to Frigate.

    Args:
        url: http(s)://[user:password@]host[:port]; Frigate's port 5000 needs no user, its port 8971 does.

    Attributes:
        name: The address in messages, without a password.

    Raises:
        HmdrnError: It is not an address.
    """

    def __init__(self, url: str) -> None:
        self.name: str = mask_secrets(url, is_address=True)
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port  # raises ValueError out of range
        except ValueError:
            valid = False
        if not valid:
            raise HmdrnError(f"{self.name!r} is not Frigate's address: give one such as http://frigate:5000")
        host = parts.netloc.rpartition("@")[2]
        self._base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def read_version(self) -> str:
        """Return Frigate's version.

        Raises:
            FrigateError: It does not answer.
        """
        return self._request("version").decode(errors="replace").strip()

    def read_crop(self, event: str) -> bytes:
        """Return the best picture so far of an event in progress, cut to its object, as JPEG.

        Raises:
            FrigateError: It does not answer, or has none.
        """
        return self._request(f"events/{quote(event)}/snapshot.jpg?crop=1&bbox=0&timestamp=0&quality=95")

    def read_thumbnail(self, event: str) -> bytes:
        """Return an event's thumbnail, cut to its object, also after its end.

        Raises:
            FrigateError: As `read_crop`.
        """
        return self._request(f"events/{quote(event)}/thumbnail.jpg")

    def write_sub_label(self, event: str, label: str, score: float) -> None:
        """Give an event a sub-label.

        Args:
            event: Its id.
            label: At most `MAX_SUB_LABEL` characters are used; empty to remove the sub-label.
            score: Its probability, 0-1.

        Raises:
            FrigateError: It does not answer, or refuses.
        """
        body: dict[str, object] = {"subLabel": label[:MAX_SUB_LABEL]}
        if label:
            body["subLabelScore"] = max(0.01, min(1.0, round(score, 4)))
        self._request(f"events/{quote(event)}/sub_label", body)

    def read_attribute_models(self, label: str) -> dict[str, list[str]]:
        """Return the user's attribute models for a class of objects: the attributes of each, by its name.

        Frigate before version 0.17 has none.

        Raises:
            FrigateError: It does not answer.
        """
        try:
            answer = self._request(
                f"classification/attributes?object_type={quote(label)}&group_by_model=true"
            )
        except FrigateError as error:
            if error.status in NOT_SUPPORTED:
                return {}
            raise
        try:
            models = json.loads(answer)
            return {str(name): [str(label) for label in labels] for name, labels in models.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise FrigateError(f"{self.name} lists attributes that cannot be read") from error

    def write_attributes(self, event: str, attributes: list[str]) -> None:
        """Give an event attributes; Frigate empties those models of its class that know none of them.

        Raises:
            FrigateError: It does not answer, or refuses.
        """
        self._request(f"events/{quote(event)}/attributes", {"attributes": attributes})

    def _request(self, path: str, body: dict[str, object] | None = None) -> bytes:
        try:
            return self._send(path, body)
        except urllib.error.HTTPError as error:
            if error.code != 401 or not self._user:
                problem = f"{self.name} answered {error.code} to {path.partition('?')[0]}"
                raise FrigateError(problem, error.code) from error
        except (OSError, ValueError) as error:
            raise FrigateError(f"{self.name} does not answer ({format_error(error)})") from error
        try:
            self._send("login", {"user": self._user, "password": self._password})
            return self._send(path, body)
        except (OSError, ValueError) as error:
            raise FrigateError(f"{self.name} refuses the user: check it, and the password") from error

    def _send(self, path: str, body: dict[str, object] | None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._base}/api/{path}", data, headers)
        with self._opener.open(request, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        return content
