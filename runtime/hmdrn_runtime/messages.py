"""How messages name what they are about."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

import numpy as np
import PIL.Image


def describe_source(source: object) -> str:
    """Name an image source in a message, in one line.

    Returns:
        The path, "<bytes, 1234>", "<PIL image 640x480 RGB>", "<array (480, 640, 3) uint8>", or
        "<int>" for an object of another type.

    """
    if isinstance(source, np.ndarray):
        return f"<array {source.shape} {source.dtype}>"
    if isinstance(source, PIL.Image.Image):
        return f"<PIL image {source.width}x{source.height} {source.mode}>"
    if isinstance(source, bytes):
        return f"<bytes, {len(source)}>"
    if isinstance(source, str | os.PathLike):
        text = os.fsdecode(source)
        return text if text.isprintable() else repr(text)
    return f"<{type(source).__name__}>"


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
