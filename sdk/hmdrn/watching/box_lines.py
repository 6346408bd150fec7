"""A detector's boxes as JSON, a line for each frame: `{"frame": 17, "boxes": [[x0, y0, x1, y1], ...]}`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.json_document import JsonObject

MAX_LINE_BYTES = 1 << 20
"""Most bytes of a line."""


@dataclass(frozen=True)
class BoxLine:
    """One line.

    Attributes:
        boxes: The boxes; empty if the line is bad.
        frame: The detector's name of the frame: an index, a timestamp or a text; None without.
        problem: The reason if the line is bad, else "".
    """

    boxes: tuple[Box, ...]
    frame: str | int | float | None = None
    problem: str = ""


def parse_box_line(text: bytes, number: int) -> BoxLine:
    """Parse one line; a bad one has a `problem`.

    Args:
        text: The line.
        number: Its number from 1, for the message.
    """
    where = f"line {number} of the boxes"
    if len(text) > MAX_LINE_BYTES:
        return BoxLine((), None, f"{where} is longer than {MAX_LINE_BYTES} bytes")
    try:
        values = JsonObject.parse(text, where, ImageError)
        frame = values.values.get("frame")
        if isinstance(frame, bool) or not isinstance(frame, str | int | float | None):
            raise ImageError(f"{where} is damaged: 'frame' is neither a number nor a text")
        return BoxLine(tuple(_parse_box(box, where) for box in values.get("boxes", list)), frame)
    except ImageError as error:
        return BoxLine((), None, str(error))


def _parse_box(values: object, where: str) -> Box:
    if not isinstance(values, list) or len(values) != 4 or not all(type(v) in (int, float) for v in values):
        raise ImageError(
            f"{where} is damaged: the box {values!r} is not a list of four numbers x0, y0, x1, y1"
        )
    try:
        x0, y0, x1, y1 = map(float, values)
    except OverflowError as error:
        raise ImageError(f"{where} is damaged: the box has a number of over 300 digits") from error
    return x0, y0, x1, y1


def read_lines(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a descriptor with their numbers from 1; of an overlong line the beginning.

    Python's own buffer is not used: its lock, held by a thread that waits for input, would break the
    interpreter's shutdown.

    Raises:
        OSError: The descriptor cannot be read.
    """
    rest, number, truncated = b"", 0, False
    while data := os.read(descriptor, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            number += 1
            if not truncated:
                yield number, line
            truncated = False
        if len(rest) > MAX_LINE_BYTES and not truncated:
            yield number + 1, rest
            truncated = True
        rest = b"" if truncated else rest
    if rest:
        yield number + 1, rest
