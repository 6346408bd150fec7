"""A detector's boxes from a descriptor, pipe or file, matched to the frames that they belong to."""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from hmdrn.watching.box_lines import BoxLine, parse_box_line, read_lines
from hmdrn.watching.frames import Frame
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import describe_os_error

BoxSource: TypeAlias = int | Path
"""An open descriptor with lines of boxes, e.g. 0 for standard input, or a named pipe or file."""
_MAX_AHEAD = 64
"""Lines that are read ahead of the frames; a faster detector has to wait."""
_POLL_SECONDS = 0.05


class BoxesEndError(Exception):
    """The detector has closed its end: there will be no more boxes."""


def check_box_source(source: BoxSource) -> None:
    """Reject a source that cannot be read.

    Raises:
        HmdrnError: The source is missing, closed or a folder.
    """
    try:
        is_folder = stat.S_ISDIR(os.stat(source).st_mode)  # noqa: PTH116 (takes a descriptor, too)
    except (OSError, OverflowError) as error:
        cause = describe_os_error(error) if isinstance(error, OSError) else str(error)
        raise _unreadable(source, cause) from error
    if is_folder:
        raise _unreadable(source, "it is a folder")


class DetectorInput:
    """A detector in another process, which sends a line of boxes for each frame.

    In order (files of which every frame is classified): a line belongs to the frame whose index it names in
    `frame`, and without a whole number there to the frame after that of the line before; frames wait for
    their line. Otherwise (live): the newest line belongs to the next frame that is captured, and is used
    once. A bad line counts as one without boxes.

    Args:
        source: The source of the lines; a path is opened in the thread that reads it, because a pipe without
            a writer blocks when it is opened.
        in_order: Whether lines belong to frames by their order.
        report: Called, in the caller's thread, with the problem of a bad line.
        is_stopped: Returns whether to give up waiting.

    Attributes:
        bad: Lines that could not be read.
        frame_id: The detector's name of the last frame.

    Raises:
        HmdrnError: As `check_box_source`.
    """

    def __init__(
        self,
        source: BoxSource,
        in_order: bool,
        report: Callable[[str], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        check_box_source(source)
        self._source, self._in_order = source, in_order
        self._report, self._is_stopped = report, is_stopped
        self._lines: queue.Queue[BoxLine | BoxesEndError | HmdrnError] = queue.Queue(_MAX_AHEAD)
        self._next_line: BoxLine | None = None
        self._next_index = 0
        self._late = self._replaced = 0
        self.bad: int = 0
        self.frame_id: str | int | float | None = None
        threading.Thread(target=self._run, name="hmdrn-boxes", daemon=True).start()

    @property
    def unused(self) -> int:
        """Lines without a frame: late ones, or live ones that a newer line replaced."""
        return self._late + self._replaced

    def __call__(self, frame: Frame) -> tuple[Box, ...] | None:
        """Return the boxes of a frame; None without a line for it.

        Raises:
            BoxesEndError: There are no more boxes.
            HmdrnError: The boxes cannot be read.
        """
        line = self._take_line_of(frame.index) if self._in_order else self._take_newest()
        self.frame_id = line.frame if line is not None else None
        return line.boxes if line is not None else None

    def _take_newest(self) -> BoxLine | None:
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
            newest = self._check(line)

    def _take_line_of(self, index: int) -> BoxLine | None:
        while not self._is_stopped():
            if self._next_line is None:
                try:
                    self._next_line = self._check(self._lines.get(timeout=_POLL_SECONDS))
                except queue.Empty:
                    continue
                if isinstance(self._next_line.frame, int):
                    self._next_index = self._next_line.frame
            if self._next_index > index:
                return None
            line, self._next_line = self._next_line, None
            self._next_index += 1
            if self._next_index > index:
                return line
            self._late += not line.problem
        return None

    def _check(self, line: BoxLine | BoxesEndError | HmdrnError) -> BoxLine:
        if not isinstance(line, BoxLine):
            raise line
        if line.problem:
            self.bad += 1
            self._report(line.problem)
        return line

    def _run(self) -> None:
        end: BoxesEndError | HmdrnError = BoxesEndError()
        try:
            if isinstance(self._source, int):
                self._read_lines(self._source)
            else:
                with self._source.open("rb", buffering=0) as file:
                    self._read_lines(file.fileno())
        except OSError as error:
            end = _unreadable(self._source, describe_os_error(error))
        self._lines.put(end)

    def _read_lines(self, descriptor: int) -> None:
        for number, text in read_lines(descriptor):
            if not text.strip():
                continue
            line = parse_box_line(text, number)
            if not self._in_order and self._lines.full():
                with contextlib.suppress(queue.Empty):
                    self._lines.get_nowait()
                    self._replaced += 1
            self._lines.put(line)


def _unreadable(source: BoxSource, cause: str) -> HmdrnError:
    name = "standard input" if source == 0 else f"descriptor {source}" if isinstance(source, int) else source
    return HmdrnError(f"cannot read boxes from {name}: {cause}; give - for standard input, or a named pipe")
