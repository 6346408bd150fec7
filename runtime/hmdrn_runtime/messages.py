"""Parts of messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

MAX_NAMED = 20
"""Most names of one kind in a message."""


class HmdrnWarning(UserWarning):
    """A warning of hmdrn; commands print its text as one line."""


def suggest_names(name: str, names: Iterable[str]) -> str:
    """Return "did you mean ...? " with the names closest to a mistyped one, or "" if none is close.

    A name that differs only in case is the closest.
    """
    choices = list(names)
    close = [choice for choice in choices if choice.casefold() == name.casefold()]
    close = close or difflib.get_close_matches(name, choices)
    return f"did you mean {' or '.join(close)}? " if close else ""


def abbreviate_names(names: Sequence[str], most: int = MAX_NAMED, separator: str = ", ") -> str:
    """Return names for a message, the first of many and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def format_error(error: BaseException) -> str:
    """Return the type and the text of another library's exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
