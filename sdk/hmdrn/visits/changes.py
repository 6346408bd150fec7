"""Changes of visits' names, logged with the former names so that they can be undone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Literal, TypeAlias

from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.rows import NAMING_COLUMNS, insert, naming_values
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Naming, format_time

ChangeKind: TypeAlias = Literal["correct", "rename"]
EnrolledPhoto: TypeAlias = tuple[str, str, int]
"""A photo that a change enrolled or removed: label, digest, and the visit that it is of."""
_COLUMNS = ", ".join(NAMING_COLUMNS)


@dataclass(frozen=True)
class VisitChange:
    """A change of names.

    Attributes:
        id: Its number.
        kind: "correct" or "rename".
        time: Time of the change (UTC), as text.
        gallery: The gallery that it changed; None if it changed none.
        enrolled: Photos that it added to the gallery.
        removed: Photos that it removed from the gallery.
        visits: Numbers of the visits.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> with hmdrn.VisitStore("site7.visits") as visits:
        ...     corrected = hmdrn.correct_visits(visits, [1], None)
        ...     hmdrn.undo_change(visits).visits
        (1,)
    """

    id: int
    kind: ChangeKind
    time: str
    gallery: str | None
    enrolled: tuple[EnrolledPhoto, ...]
    removed: tuple[EnrolledPhoto, ...]
    visits: tuple[int, ...]


def log_change(
    connection: sqlite3.Connection,
    kind: ChangeKind,
    names: Mapping[int, Naming],
    gallery: str | None = None,
    enrolled: Sequence[EnrolledPhoto] = (),
    removed: Sequence[EnrolledPhoto] = (),
) -> int:
    """Give visits new names, and log the former ones; returns the change's number.

    Args:
        connection: Within `VisitStore.transaction`.
        kind: The kind of change.
        names: The new names by the visits' numbers.
        gallery: Path of the gallery that was changed.
        enrolled: Photos added to it.
        removed: Photos removed from it.
    """
    now = format_time(datetime.now(timezone.utc))
    lists = (json.dumps(list(enrolled)), json.dumps(list(removed)))
    change = insert(
        connection,
        "INSERT INTO changes (time, kind, gallery, enrolled, removed) VALUES (?, ?, ?, ?, ?)",
        [now, kind, gallery, *lists],
    )
    assignments = ", ".join(f"{name} = ?" for name in NAMING_COLUMNS)
    for visit, naming in names.items():
        connection.execute(
            f"INSERT INTO former_names (change, visit, {_COLUMNS}) "
            f"SELECT ?, id, {_COLUMNS} FROM visits WHERE id = ?",
            [change, visit],
        )
        connection.execute(f"UPDATE visits SET {assignments} WHERE id = ?", [*naming_values(naming), visit])
    return change


def relabel_visits(store: VisitStore, label: str, new: str) -> int:
    """Give the visits of a species its new label, as one change that can be undone; return their number."""
    with store.transaction() as connection:
        visits = store.find(VisitFilter(species=(label,)))
        names = {}
        for visit in visits:
            nearest = visit.naming.nearest
            named = replace(visit.naming, label=new, nearest=new if nearest == label else nearest)
            names[visit.id] = named
        if names:
            log_change(connection, "rename", names)
    return len(visits)


def list_changes(store: VisitStore, visits: Sequence[int] | None = None) -> list[VisitChange]:
    """Return the changes that have not been undone, the last first; only those of some visits if given."""
    changes = [
        VisitChange(
            row["id"],
            row["kind"],
            row["time"],
            row["gallery"],
            _read_photos(row["enrolled"]),
            _read_photos(row["removed"]),
            tuple(
                visit["visit"]
                for visit in store.query(
                    "SELECT visit FROM former_names WHERE change = ? ORDER BY visit", [row["id"]]
                )
            ),
        )
        for row in store.query("SELECT * FROM changes WHERE NOT undone ORDER BY id DESC")
    ]
    return [change for change in changes if visits is None or set(visits) & set(change.visits)]


def restore_names(connection: sqlite3.Connection, change: VisitChange) -> None:
    """Give the visits of a change their former names, and mark it as undone."""
    connection.execute(
        f"UPDATE visits SET ({_COLUMNS}) = (SELECT {_COLUMNS} FROM former_names "
        "WHERE change = ? AND visit = visits.id) "
        "WHERE id IN (SELECT visit FROM former_names WHERE change = ?)",
        [change.id, change.id],
    )
    connection.execute("UPDATE changes SET undone = 1 WHERE id = ?", [change.id])


def _read_photos(text: str) -> tuple[EnrolledPhoto, ...]:
    return tuple((label, digest, visit) for label, digest, visit in json.loads(text))
