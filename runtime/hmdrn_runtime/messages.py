"""How messages name what they are about."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A question after the names that are nearest to a mistyped one; empty where none is near.

    One that differs in case alone is the nearest.
    """
    among = list(names)
    close = [one for one in among if one.casefold() == name.casefold()] or difflib.get_close_matches(
        name, among
    )
    return f"did you mean {' or '.join(close)}? " if close else ""


def one_line(error: BaseException) -> str:
    """An exception of another library: its type and its text, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
