"""Lines of a detector's boxes, a JSON object a frame: `{"frame": 17, "boxes": [[x0, y0, x1, y1], ...]}`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.json_document import JsonObject

LONGEST_LINE = 1 << 20
"""Bytes of a line at most."""


@dataclass(frozen=True)
class BoxLine:
    """One line.

    Attributes:
        boxes: Its boxes; empty where the line is bad.
        frame: What it calls its frame: an index, a timestamp or a name; None without.
        problem: What is wrong with the line, or "".
    """

    boxes: tuple[Box, ...]
    frame: str | int | float | None = None
    problem: str = ""


def parse_line(text: bytes, number: int) -> BoxLine:
    """Read one line; what is wrong with a bad one is in its `problem`.

    Args:
        text: The line.
        number: Its number from 1, for the message.
    """
    where = f"line {number} of the boxes"
    if len(text) > LONGEST_LINE:
        return BoxLine((), None, f"{where} is longer than {LONGEST_LINE} bytes")
    try:
        values = JsonObject.parse(text, where, ImageError)
        frame = values.values.get("frame")
        if isinstance(frame, bool) or not isinstance(frame, str | int | float | None):
            raise ImageError(f"{where} is damaged: 'frame' is neither a number nor a text")
        boxes = tuple(_box(box, where) for box in values.get("boxes", list))
    except ImageError as error:
        return BoxLine((), None, str(error))
    return BoxLine(boxes, frame)


def _box(values: object, where: str) -> Box:
    if not isinstance(values, list) or len(values) != 4 or not all(type(v) in (int, float) for v in values):
        raise ImageError(f"{where} is damaged: the box {values!r} is no list of four numbers x0, y0, x1, y1")
    try:
        x0, y0, x1, y1 = (float(value) for value in values)
    except OverflowError as error:
        raise ImageError(f"{where} is damaged: the box has a number of over 300 digits") from error
    return x0, y0, x1, y1


def numbered_lines(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a descriptor with their numbers from 1; of an overlong one the beginning.

    Read without Python's own buffer: its lock, held by a thread that waits for input, would break the
    interpreter's end.

    Raises:
        OSError: It cannot be read.
    """
    rest, number, cut = b"", 0, False
    while data := os.read(descriptor, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            number += 1
            if not cut:
                yield number, line
            cut = False
        if len(rest) > LONGEST_LINE and not cut:
            yield number + 1, rest
            cut = True
        rest = rest if not cut else b""
    if rest:
        yield number + 1, rest
