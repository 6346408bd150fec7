"""Subjects found by a program that the user brings."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Sequence

from hmdrn.watching.box_lines import MAX_LINE_BYTES, parse_box_line
from hmdrn.watching.frames import Frame
from hmdrn_runtime.errors import HmdrnError, ImageError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import describe_os_error

_END_SECONDS = 2.0
"""Seconds that the program gets to end by itself once its input has ended."""


class CommandDetector:
    """Finds subjects in photos with a program.

    It is started once, without a shell. For each photo it gets the path on a line of its standard input, and
    answers with a line of JSON, `{"boxes": [[x0, y0, x1, y1], ...]}`, in pixels of the upright photo. Its
    standard error is that of this process. One thread at a time may call it.

    Args:
        command: The program and its arguments, as one text quoted as for a shell, or as a list.

    Raises:
        HmdrnError: The program cannot be started.
    """

    def __init__(self, command: str | Sequence[str]) -> None:
        try:
            arguments = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as error:
            raise HmdrnError(f"cannot read the detector's command {command!r}: {error}") from error
        if not arguments:
            raise HmdrnError("the detector's command is empty: give a program")
        self._name, self._count = arguments[0], 0
        try:
            self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except (OSError, ValueError) as error:
            cause = describe_os_error(error) if isinstance(error, OSError) else str(error)
            raise HmdrnError(f"cannot start the detector {self._name!r}: {cause}") from error

    def __call__(self, frame: Frame, /) -> tuple[Box, ...]:
        """Return the boxes of a photo.

        Raises:
            ImageError: The frame is not a photo of a folder, or its path has a line break.
            HmdrnError: The program has ended, or its answer cannot be read.
        """
        if frame.file is None or "\n" in frame.file:
            raise ImageError(f"the detector {self._name!r} gets photos by their paths, in one line each")
        self._count += 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = b""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(os.fsencode(frame.file) + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline(MAX_LINE_BYTES + 1)
        if not line:
            code = self._process.wait()
            raise HmdrnError(f"the detector {self._name!r} ended with code {code} at {frame.file}")
        answer = parse_box_line(line, self._count)
        if answer.problem:
            raise HmdrnError(f"the detector {self._name!r} answered wrongly: {answer.problem}")
        return answer.boxes

    def close(self) -> None:
        """End the program."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
