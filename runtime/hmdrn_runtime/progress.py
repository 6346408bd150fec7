"""Progress of long operations, reported to a caller's function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Receives the name of the step, the amount done and the total."""


def ignore_progress(step: str, done: int, total: int) -> None:
    """Report nothing."""
