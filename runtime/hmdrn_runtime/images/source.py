"""Names of image sources in messages."""

from __future__ import annotations

import os

import numpy as np
import PIL.Image


def describe_source(source: object) -> str:
    """Return the name of an image source for a message, in one line.

    Returns:
        The path, "<bytes, 1234>", "<PIL image 640x480 RGB>", "<array (480, 640, 3) uint8>", or
        "<int>" for an object of another type.
    """
    if isinstance(source, np.ndarray):
        return f"<array {source.shape} {source.dtype}>"
    if isinstance(source, PIL.Image.Image):
        return f"<PIL image {source.width}x{source.height} {source.mode}>"
    if isinstance(source, bytes | bytearray | memoryview):
        return f"<bytes, {memoryview(source).nbytes}>"
    if isinstance(source, str | os.PathLike):
        text = os.fsdecode(source)
        return text if text and text.isprintable() else repr(text)
    return f"<{type(source).__name__}>"
