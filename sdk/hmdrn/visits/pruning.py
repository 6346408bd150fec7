"""Keep the diary's file within its limits of size and age."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta, timezone

from hmdrn.visits.visit import format_time

CLIP_SHARE = 0.5
"""Most of the file that clips may take: they are large, and a year of pictures is worth more than a week of
clips."""
_PRUNED_AT_ONCE = 20
"""Visits that lose their pictures or clips, or are deleted, at most, when one is added: adding one stays
quick, and a clock that is wrong for a moment does not delete a diary."""
_CLOCK_SET = "2001"
"""Start of the years that clocks show; a device without a battery starts in 1970 or 2000."""


def delete_old_visits(connection: sqlite3.Connection, max_days: float) -> None:
    """Delete visits that ended more than some days ago, the oldest first."""
    oldest = datetime.now(timezone.utc) - timedelta(days=max_days)
    connection.execute(
        "DELETE FROM visits WHERE id IN (SELECT id FROM visits WHERE end_time < ? AND start_time > ? "
        "ORDER BY start_time LIMIT ?)",
        [format_time(oldest), _CLOCK_SET, _PRUNED_AT_ONCE],
    )


def make_room_for_clip(connection: sqlite3.Connection, max_bytes: int, incoming: int) -> bool:
    """Delete the oldest clips until another one fits into the clips' share of the file.

    Args:
        connection: Within a transaction.
        max_bytes: Most bytes of the file.
        incoming: Bytes of the clip.

    Returns:
        Whether it fits.
    """
    share = CLIP_SHARE * max_bytes
    if incoming > share:
        return False
    for _ in range(_PRUNED_AT_ONCE):
        (used,) = connection.execute("SELECT coalesce(sum(length(webm)), 0) FROM clips").fetchone()
        if used + incoming <= share:
            return True
        connection.execute("DELETE FROM clips WHERE visit = (SELECT min(visit) FROM clips)")
    return False


def make_room(connection: sqlite3.Connection, max_bytes: int, incoming: int) -> None:
    """Delete the oldest visits' pictures and clips, then the oldest visits, until further bytes fit.

    Args:
        connection: Within a transaction.
        max_bytes: Most bytes of the file.
        incoming: Bytes that are to be added.
    """
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    for _ in range(_PRUNED_AT_ONCE):
        (pages,), (free,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count")
        )
        if (pages - free) * page + incoming + 2 * page <= max_bytes:
            return
        (oldest,) = connection.execute(
            "SELECT min(visit) FROM (SELECT min(visit) AS visit FROM pictures UNION ALL "
            "SELECT min(visit) FROM clips)"
        ).fetchone()
        if oldest is None:
            connection.execute("DELETE FROM visits WHERE id = (SELECT min(id) FROM visits)")
        else:
            connection.execute("DELETE FROM pictures WHERE visit = ?", [oldest])
            connection.execute("DELETE FROM clips WHERE visit = ?", [oldest])
