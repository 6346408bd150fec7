"""The kernel's small files and the vendors' tools, which may be missing or fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_TIMEOUT = 10


def read_text(path: Path) -> str | None:
    """Return a file's text, stripped of blanks and NULs; None if it is empty or cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0 \t\r\n") or None
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """Return the integer in a file; None if the file cannot be read or holds anything else."""
    text = read_text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def run_tool(program: str, *arguments: str) -> str | None:
    """Return what a program prints; None if it is missing, or does not end within ten seconds."""
    path = shutil.which(program)
    if path is None:
        return None
    command = [path, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
