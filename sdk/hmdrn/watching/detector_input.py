"""A detector's boxes, as they come by descriptor, pipe or file, and the frames that they belong to."""

from __future__ import annotations

import os
import queue
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from hmdrn.watching.box_lines import BoxLine, numbered_lines, parse_line
from hmdrn.watching.frames import Frame
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import reason

BoxSource: TypeAlias = int | Path
"""Where lines of boxes come from: an open descriptor, e.g. 0 for standard input, or a named pipe or file."""
_AHEAD = 64
"""Lines that are read ahead of the frames; a detector that is faster has to wait."""
_SLICE = 0.05


class BoxesEndError(Exception):
    """The detector has closed its end: there will be no more boxes."""


def check_box_source(source: BoxSource) -> None:
    """Refuse what no lines can be read from.

    Raises:
        HmdrnError: It is missing, closed or a folder.
    """
    try:
        folder = stat.S_ISDIR(os.stat(source).st_mode)  # noqa: PTH116 (of a descriptor, too)
    except (OSError, OverflowError) as error:
        raise _unreadable(source, reason(error) if isinstance(error, OSError) else str(error)) from error
    if folder:
        raise _unreadable(source, "it is a folder")


class BoxLines:
    """Gives each frame the boxes that were sent for it.

    In order (files, where every frame is looked at): a line belongs to the frame whose index it names in
    `frame`, and without a whole number there to the frame after that of the line before; frames wait for
    their line. Otherwise (live) the newest line belongs to the next frame that is captured, and is used
    once. A bad line counts as one without boxes.

    Args:
        source: Where the lines come from; a path is opened in the thread that reads it, because a pipe
            without a writer opens when there is one.
        in_order: Whether lines belong to frames by their order.
        report: Called, in the thread that asks, with what is wrong with a line.
        stopped: Whether to give up waiting.

    Raises:
        HmdrnError: As `check_box_source`.
    """

    def __init__(
        self,
        source: BoxSource,
        in_order: bool,
        report: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> None:
        check_box_source(source)
        self._source, self._in_order = source, in_order
        self._report, self._stopped = report, stopped
        self._lines: queue.Queue[BoxLine | BoxesEndError | HmdrnError] = queue.Queue(_AHEAD)
        self._held: BoxLine | None = None
        self._next = 0
        self._late = self._overtaken = 0
        self.bad = 0
        """Lines that could not be read."""
        self.frame_id: str | int | float | None = None
        """What the detector calls the frame that was asked for last."""
        threading.Thread(target=self._read, name="hmdrn-boxes", daemon=True).start()

    @property
    def unused(self) -> int:
        """Lines that no frame got: late ones, or live those that a newer one overtook."""
        return self._late + self._overtaken

    def __call__(self, frame: Frame) -> tuple[Box, ...] | None:
        """The boxes of a frame; None if no line is about it.

        Raises:
            BoxesEndError: There are no more.
            HmdrnError: They cannot be read.
        """
        line = self._of(frame.index) if self._in_order else self._newest()
        self.frame_id = line.frame if line is not None else None
        return line.boxes if line is not None else None

    def _newest(self) -> BoxLine | None:
        newest = None
        while True:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return newest
            if newest is not None and not isinstance(line, BoxLine):
                self._lines.put(line)
                return newest
            self._late += newest is not None and not newest.problem
            newest = self._get(line)

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
            self._late += not line.problem
        return None

    def _get(self, line: BoxLine | BoxesEndError | HmdrnError) -> BoxLine:
        if not isinstance(line, BoxLine):
            raise line
        if line.problem:
            self.bad += 1
            self._report(line.problem)
        return line

    def _read(self) -> None:
        end: BoxesEndError | HmdrnError = BoxesEndError()
        try:
            if isinstance(self._source, int):
                self._read_lines(self._source)
            else:
                with self._source.open("rb", buffering=0) as file:
                    self._read_lines(file.fileno())
        except OSError as error:
            end = _unreadable(self._source, reason(error))
        self._lines.put(end)

    def _read_lines(self, descriptor: int) -> None:
        for number, text in numbered_lines(descriptor):
            if text.strip():
                line = parse_line(text, number)
                if not self._in_order and self._lines.full():
                    self._overtake()
                self._lines.put(line)

    def _overtake(self) -> None:
        try:
            self._lines.get_nowait()
        except queue.Empty:
            return
        self._overtaken += 1


def _unreadable(source: BoxSource, why: str) -> HmdrnError:
    name = f"descriptor {source}" if isinstance(source, int) else source
    name = "standard input" if source == 0 else name
    return HmdrnError(f"cannot read boxes from {name}: {why}; give - for standard input, or a named pipe")
