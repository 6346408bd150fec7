"""A detector's boxes as JSON lines: `{"frame": 17, "boxes": [[x0, y0, x1, y1], ...]}`, one object a frame."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hmdrn.watching.frames import Frame
from hmdrn_runtime.documents import Document
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images import Box

LONGEST_LINE = 1 << 20
"""Bytes of a line at most."""
_AHEAD = 64
"""Lines that are read ahead of the frames; a detector that is faster has to wait."""
_SLICE = 0.05


class BoxesEndError(Exception):
    """The detector has closed its end: there will be no more boxes."""


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
        values = Document.parse(text, where, ImageError)
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
    x0, y0, x1, y1 = (float(value) for value in values)
    return x0, y0, x1, y1


class BoxLines:
    """Gives each frame the boxes that were sent for it.

    In order (files, where every frame is looked at): a line belongs to the frame whose index it names in
    `frame`, and without a whole number there to the frame after that of the line before; frames wait for
    their line. Otherwise (live) the newest line belongs to the next frame that is captured, and is used
    once. A bad line counts as one without boxes.

    Args:
        descriptor: Where the lines come from, e.g. 0 for standard input.
        in_order: Whether lines belong to frames by their order.
        report: Called, in the thread that asks, with what is wrong with a line.
        stopped: Whether to give up waiting.
    """

    def __init__(
        self,
        descriptor: int,
        in_order: bool,
        report: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._descriptor, self._in_order = descriptor, in_order
        self._report, self._stopped = report, stopped
        self._lines: queue.Queue[BoxLine | None] = queue.Queue(_AHEAD)
        self._held: BoxLine | None = None
        self._next = 0
        self.bad = 0
        """Lines that could not be read."""
        self.frame_id: str | int | float | None = None
        """What the detector calls the frame that was asked for last."""
        threading.Thread(target=self._read, name="hmdrn-boxes", daemon=True).start()

    def __call__(self, frame: Frame) -> tuple[Box, ...] | None:
        """The boxes of a frame; None if no line is about it.

        Raises:
            BoxesEndError: There are no more.
        """
        line = self._of(frame.index) if self._in_order else self._newest()
        self.frame_id = line.frame if line is not None else None
        return line.boxes if line is not None else None

    def _newest(self) -> BoxLine | None:
        newest = None
        while True:
            try:
                line = self._get(self._lines.get_nowait())
            except queue.Empty:
                return newest
            except BoxesEndError:
                if newest is None:
                    raise
                self._lines.put(None)
                return newest
            newest = line

    def _of(self, index: int) -> BoxLine | None:
        while not self._stopped():
            if self._held is None:
                try:
                    self._held = self._get(self._lines.get(timeout=_SLICE))
                except queue.Empty:
                    continue
                named = self._held.frame
                self._next = named if isinstance(named, int) else self._next
            if self._next > index:
                return None
            line, self._held = self._held, None
            self._next += 1
            if self._next > index:
                return line
        return None

    def _get(self, line: BoxLine | None) -> BoxLine:
        if line is None:
            raise BoxesEndError
        if line.problem:
            self.bad += 1
            self._report(line.problem)
        return line

    def _read(self) -> None:
        for number, text in _numbered(self._descriptor):
            if text.strip():
                line = parse_line(text, number)
                if not self._in_order and self._lines.full():
                    self._overtake()
                self._lines.put(line)
        self._lines.put(None)

    def _overtake(self) -> None:
        try:
            self._lines.get_nowait()
        except queue.Empty:
            return


def _numbered(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a descriptor with their numbers from 1; of an overlong one the beginning.

    Read without Python's own buffer: its lock, held by a thread that waits for input, would break the
    interpreter's end.
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
