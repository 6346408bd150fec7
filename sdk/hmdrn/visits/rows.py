"""Visits, names and pictures as rows of the diary's tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hmdrn.visits.visit import Naming, Visit, VisitClip, VisitPicture, format_time

NAMING_COLUMNS = ("label", "known", "probability", "score", "nearest", "model", "generation", "verdict")
"""Columns of a name, in `visits` and in `former_names`."""
SIGHT_COLUMNS = ("start_time", "end_time", "duration", "source", "track", "frames", "closed")
"""Columns of a visit without its name."""
PICTURE_COLUMNS = ("id", "visit", "reasons", "time", "width", "height", "box")
"""Columns of a picture without its JPEG."""
CLIP_COLUMNS = ("visit", "start_time", "duration", "width", "height")
"""Columns of a clip without its film."""


def insert(connection: sqlite3.Connection, sql: str, values: Sequence[object]) -> int:
    """Insert a row, and return its number."""
    return int(connection.execute(sql, list(values)).lastrowid or 0)


def insert_picture(connection: sqlite3.Connection, visit: int, picture: VisitPicture) -> None:
    """Insert a picture of a visit."""
    if picture.jpeg is None:
        raise ValueError("a picture to store needs its jpeg")
    connection.execute(
        "INSERT INTO pictures (visit, reasons, time, width, height, box, jpeg) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            visit,
            " ".join(picture.reasons),
            format_time(picture.time),
            picture.width,
            picture.height,
            None if picture.box is None else json.dumps([round(side, 2) for side in picture.box]),
            picture.jpeg,
        ],
    )


def sight_values(visit: Visit) -> list[object]:
    """Return a visit as the values of `SIGHT_COLUMNS`."""
    return [
        format_time(visit.start),
        format_time(visit.end),
        visit.duration,
        visit.source.encode("utf-8", "backslashreplace").decode(),  # a folder's name may have other bytes
        visit.track,
        visit.frames,
        int(visit.closed),
    ]


def naming_values(naming: Naming) -> list[object]:
    """Return a naming as the values of `NAMING_COLUMNS`."""
    values = [getattr(naming, name) for name in NAMING_COLUMNS]
    return [int(value) if isinstance(value, bool) else value for value in values]


def read_naming(row: sqlite3.Row) -> Naming:
    """Return the naming in a row with `NAMING_COLUMNS`."""
    values: dict[str, Any] = {name: row[name] for name in NAMING_COLUMNS}
    values["known"] = None if values["known"] is None else bool(values["known"])
    return Naming(**values)


def read_visit(row: sqlite3.Row, pictures: Sequence[VisitPicture], clip: VisitClip | None) -> Visit:
    """Return the visit in a row of `visits`."""
    return Visit(
        _parse(row["start_time"]),
        row["duration"],
        row["source"],
        read_naming(row),
        row["track"],
        row["frames"],
        tuple(pictures),
        bool(row["closed"]),
        row["id"],
        clip,
    )


def read_picture(row: sqlite3.Row) -> VisitPicture:
    """Return the picture in a row with `PICTURE_COLUMNS`."""
    return VisitPicture(
        tuple(row["reasons"].split()),
        _parse(row["time"]),
        row["width"],
        row["height"],
        None if row["box"] is None else tuple(json.loads(row["box"])),
        None,
        row["id"],
    )


def read_clip(row: sqlite3.Row) -> VisitClip:
    """Return the clip in a row with `CLIP_COLUMNS`."""
    return VisitClip(_parse(row["start_time"]), row["duration"], row["width"], row["height"])


def _parse(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
