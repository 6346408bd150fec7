"""Small files of the kernel's, which may be missing, unreadable, or fail while they are read."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str | None:
    """A file's text without blanks and NULs at its ends; None if it cannot be read or holds nothing."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0 \t\r\n") or None
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """The whole number that a file holds; None if it cannot be read or holds anything else."""
    text = read_text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def scaled(value: int | None, factor: float) -> float | None:
    """A number in another unit, None for None."""
    return None if value is None else round(value * factor, 3)
