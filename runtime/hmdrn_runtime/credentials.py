"""Masking of passwords and tokens in addresses, GStreamer pipelines and messages.

When in doubt more is masked than is secret: a password may itself have an @, a slash or a blank in it.
"""

from __future__ import annotations

import re
from functools import cache

MASK = "***"

_EXAMPLE = "user:password@"
"""The login in the examples of messages, which is not a secret."""
_SECRETS = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "signature",
    "credential",
    "credentials",
    "userpw",
    "proxypw",
    "userpass",
    "userid",
    "loginpas",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "authkey",
    "streamkey",
    "cryptokey",
    "encryptionkey",
    "decryptionkey",
)
"""Ends of names, without their hyphens, whose value is a secret everywhere."""
_WEAK_SECRETS = (
    "pass",
    "pw",
    "psw",
    "pas",
    "p",
    "key",
    "auth",
    "sig",
    "jwt",
    "hmac",
    "sid",
    "session",
    "sessionid",
    "jsessionid",
)
"""Last words of names that are secrets in an address or a pipeline, and may be harmless elsewhere."""
_HEADER = r"(?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:key|token|auth)"

_HINT = r"[@=;]|%40|%3D|\s-|[\"']\s*:|authorization|cookie|\bx-"
"""Found in every text that has something to mask."""
_SCHEME = r"[A-Z][A-Z0-9+.-]+(?::/{1,3}|(%3A%2F%2F))"
"""One slash is left of two where an address was taken for a path."""
_NO_LOGIN = r"(?:\d{1,3}(?:\.\d{1,3}){3}|localhost|\[[\dA-F:.%]*\])(?::\d*)?(?![^\s/?#,;:)\]}'\"])"
"""A host that nobody has as a user name, with or without its port."""
_HOST_AND_PORT = r"[\w.-]*:(?:\d{1,5}(?=[/?#\s'\"),;:]|$)|(?=\s|$))"
_BARE_LOGIN = (
    r"(?<![\w.+%/\[-])(?!mailto:|sips?:|\w:[\\/])(?=[\w.+-]*[A-Z])[\w.+-]+:(?![/\s])\S{0,999}@(?=[\w\[])"
)
"""user:password@host without a scheme."""
_NAME = (
    r"(?:(?<=%[0-9A-F][0-9A-F])|(?<![\w.%-]))(?P<name>-{0,2}[A-Z_][\w.-]*)\]?"
    r"(?:(?P<quoted>[\"']\s*:\s*)|\s*(?:=|%3D)\s*|(?P<header>\s*:\s*)|(?P<option>;)(?=\S)|(?P<argument>\s+))"
)
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_PARAMETER = r"&[\w.\[\]-]+="
_WORD = rf"\*\*\*|(?:(?!{_PARAMETER})\S)+"
_PIPELINE_VALUE = rf"(?:(?!{_PARAMETER}|\s+!(?:\s|$)|\s+[A-Z][\w-]*=).)+"
_ADDRESS_VALUE = rf"(?:(?!{_PARAMETER}).)+"


def mask_secrets(text: str, is_address: bool = False) -> str:
    """Return a text with `MASK` in place of each login, password and token.

    Masked are the user and password before an @, with or without a scheme; values of parameters, GStreamer
    properties and options such as pwd, user-pw, token, key or passphrase; HTTP headers of authorization. All
    of it may be percent-encoded or quoted.

    Args:
        text: A message, or an address or pipeline.
        is_address: Whether the whole text is one address or pipeline, so that a login or a value may have
            blanks in it.
    """
    if not _compile(_HINT).search(text):
        return text
    if is_address and not is_pipeline(text):
        if _compile(_SCHEME + _HOST_AND_PORT).match(
            text
        ):  # else a value's @ would end a login that is not there
            text = _mask_values(text, _ADDRESS_VALUE, is_address)
        return _mask_values(_mask_address(text), _ADDRESS_VALUE, is_address)
    return _mask_values(
        _mask_logins(text, has_blanks=False), _PIPELINE_VALUE if is_address else _WORD, is_address
    )


def is_pipeline(address: str) -> bool:
    """Return whether an address is a GStreamer pipeline: it has " ! " in it, and does not begin as a URL."""
    return " ! " in address and ":" not in address.split(maxsplit=1)[0]


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    """Compile at the first use: most processes mask nothing."""
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _mask_address(text: str) -> str:
    """Mask all before the last @ of one address, with or without a scheme."""
    scheme = _compile(_SCHEME).match(text)
    if scheme is not None:
        login = _mask_login(text[scheme.end() :], scheme[1] is not None, has_blanks=True)
        return _mask_logins(scheme[0] + login, has_blanks=True)  # a parameter may be an address too
    return _compile(r"^(?!mailto:|sips?:|\w:\\)[^\s:@]+:.*@").sub(f"{MASK}@", text)


def _mask_logins(text: str, has_blanks: bool) -> str:
    """Mask the logins of all addresses in a text; `has_blanks` says that none ends at a blank."""
    schemes = list(_compile(_SCHEME).finditer(text))
    ends = [scheme.start() for scheme in schemes[1:]] + [len(text)]
    parts = [text[: schemes[0].start()] if schemes else text]
    for scheme, end in zip(schemes, ends, strict=bool(schemes)):
        quote = text[scheme.start() - 1 : scheme.start()]
        is_quoted = quote in ("'", '"')
        stop = (
            rf"{quote}(?=[\s,;:)\]}}]|$)|[\r\n]"
            if is_quoted
            else r"[\r\n]"
            if has_blanks
            else r"\s!\s|[\r\n]"
        )
        closing = _compile(stop).search(text, scheme.end(), end)
        address_end = end if closing is None else closing.start()
        rest = text[scheme.end() : address_end]
        login = _mask_login(rest, scheme[1] is not None, has_blanks or (is_quoted and closing is not None))
        parts.append(scheme[0] + login + text[address_end:end])
    return _compile(_BARE_LOGIN).sub(f"{MASK}@", "".join(parts))


def _mask_login(rest: str, is_encoded: bool, has_blanks: bool) -> str:
    """Mask the login in what follows a scheme; `has_blanks` says that the address does not end at a blank."""
    at = "@|%40" if is_encoded else "@"
    ends = list(_compile(at).finditer(rest))
    if not ends or rest.startswith((f"{MASK}{ends[0][0]}", _EXAMPLE)) or _compile(_NO_LOGIN).match(rest):
        return rest
    [authority] = _compile(r"(?:(?!%2F|%3F)[^/?#\s])*" if is_encoded else r"[^/?#\s]*").findall(rest, 0)[:1]
    if not _compile(at).search(authority):
        ends_at_blank = not has_blanks and not _compile(at).search(rest.split(maxsplit=1)[0])
        if not _compile(":|%3A").search(authority) or (
            ends_at_blank and _compile(_HOST_AND_PORT).match(rest)
        ):
            return rest
    return MASK + rest[ends[-1].start() :]


def _mask_values(text: str, value: str, is_address: bool) -> str:
    """Mask what follows names of secrets; `value` is the pattern of a value without quotes."""
    parts, done, position = [], 0, 0
    while (match := _compile(_NAME).search(text, position)) is not None:
        position = match.end("name")
        end = _find_end_of_secret(text, match, value, is_address)
        if end is None:
            continue
        quote = text[match.end() : match.end() + 1]
        quote = quote if quote in ("'", '"') and text[end - 1] == quote and end - match.end() > 1 else ""
        parts += [text[done : match.end()], quote, MASK, quote]
        done = position = end
    return "".join([*parts, text[done:]])


def _find_end_of_secret(text: str, match: re.Match[str], value: str, is_address: bool) -> int | None:
    """Return the end of the value after a name, None if it is missing or not secret."""
    name = match["name"]
    if match["header"] is not None:
        if not _compile(_HEADER).fullmatch(name):
            return None
        value = r"[^\r\n\"']+"
    elif match["argument"] is not None:
        if not (name.startswith("-") and _is_secret(name, weak=False)):
            return None
        value = r"\S+"
    elif match["option"] is not None:
        if not _is_secret(name, weak=False):
            return None
        value = r"[^|\s]+"
    else:
        before = text[max(0, match.start() - 3) : match.start()]
        weak = is_address or bool(_compile(r"(?:[?&#;]|%3F|%26)$").search(before))
        if not _is_secret(name, weak):
            return None
    if value != _ADDRESS_VALUE:
        value = rf"(?:{_QUOTED})(?=[\s,;:)\]}}&|]|$)|{value}"
    end = _compile(value).match(text, match.end())
    return None if end is None else end.end()


def _is_secret(name: str, weak: bool) -> bool:
    """Return whether a parameter's name names a secret, `weak` ones included."""
    words = [
        word.rstrip("0123456789") for word in re.split(r"[-_.]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name))
    ]
    words = [word.lower() for word in words if word]
    if not words:
        return False
    return "".join(words).endswith(_SECRETS) or (weak and words[-1] in _WEAK_SECRETS)
