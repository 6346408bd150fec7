"""The time at which a film was recorded."""

from __future__ import annotations

import time
from pathlib import Path


def find_film_start(path: Path, seconds: float) -> float:
    """Return when a film begins: its file's last change, which is its end, less its length.

    Args:
        path: The film.
        seconds: Its length; 0 if unknown.

    Returns:
        Seconds since 1970 (UTC); the present time of a pipe, or a file that cannot be looked at.
    """
    try:
        return path.stat().st_mtime - seconds if path.is_file() else time.time()
    except OSError:
        return time.time()
