"""The diary: visits and their pictures in one SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.pruning import delete_old_visits, make_room, make_room_for_clip
from hmdrn.visits.rows import (
    CLIP_COLUMNS,
    NAMING_COLUMNS,
    PICTURE_COLUMNS,
    SIGHT_COLUMNS,
    insert,
    insert_picture,
    naming_values,
    read_clip,
    read_picture,
    read_visit,
    sight_values,
)
from hmdrn.visits.schema import open_database
from hmdrn.visits.visit import Visit, VisitClip, VisitPicture, format_time
from hmdrn_runtime.errors import HmdrnError

MAX_MEGABYTES = 1000
"""Megabytes that the file may have unless the caller says otherwise."""


class VisitStore:
    """The visits of one or more cameras, in a file that only its user can read.

    Several threads and processes may use one file at once. When the file is full, the oldest visits lose
    their pictures and clip; when none is left, the oldest visits go. Clips take at most half of it.

    Args:
        path: The file.
        create: Whether to make it if it is missing.
        max_megabytes: Most megabytes of the file, at least 1; visits that are added keep to it.
        max_days: Age in days at which visits are deleted, above 0; None keeps them.

    Attributes:
        path: The file.

    Raises:
        HmdrnError: The file is missing, cannot be opened, is not a file of visits, or of a newer hmdrn.

    Examples:
        >>> with hmdrn.VisitStore("site7.visits") as visits:
        ...     "Laysan Albatross" in {visit.label for visit in visits.find()}
        True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        create: bool = False,
        max_megabytes: float = MAX_MEGABYTES,
        max_days: float | None = None,
    ) -> None:
        if not max_megabytes >= 1:
            raise HmdrnError(f"max_megabytes is {max_megabytes}: give at least 1")
        if max_days is not None and not max_days > 0:
            raise HmdrnError(f"max_days is {max_days}: give more than 0, or None for no limit")
        self._max_bytes, self._max_days = int(max_megabytes * 1e6), max_days
        self._lock = threading.RLock()
        self.path: Path
        self.path, self._connection = open_database(path, create)

    def __enter__(self) -> VisitStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<VisitStore {self.path}>"

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def save(self, visit: Visit, has_pictures: bool = True) -> Visit:
        """Write a visit, new or (with an `id`) seen further, and delete old ones if the limits ask for it.

        A visit that a person has corrected meanwhile keeps its name.

        Args:
            visit: The visit; its pictures have their `jpeg`.
            has_pictures: False to write it without its pictures, e.g. on a full disk.

        Returns:
            The visit with its number; its pictures have theirs, and no `jpeg`.

        Raises:
            HmdrnError: The file cannot be written; nothing of the visit is then in it.
        """
        sight, name = sight_values(visit), naming_values(visit.naming)
        with self.transaction() as connection:
            self._prune(connection, sum(len(picture.jpeg or b"") for picture in visit.pictures))
            number = visit.id
            if number:
                names, sights = (", ".join(f"{c} = ?" for c in cs) for cs in (NAMING_COLUMNS, SIGHT_COLUMNS))
                connection.execute(f"UPDATE visits SET {sights} WHERE id = ?", [*sight, number])
                connection.execute(
                    f"UPDATE visits SET {names} WHERE id = ? AND verdict IS NULL", [*name, number]
                )
                if has_pictures:
                    connection.execute("DELETE FROM pictures WHERE visit = ?", [number])
            else:
                columns = (*SIGHT_COLUMNS, *NAMING_COLUMNS)
                marks = ", ".join("?" * len(columns))
                number = insert(
                    connection,
                    f"INSERT INTO visits ({', '.join(columns)}) VALUES ({marks})",
                    [*sight, *name],
                )
            for picture in visit.pictures if has_pictures else ():
                insert_picture(connection, number, picture)
        return self.get(number)

    def save_clip(self, number: int, clip: VisitClip) -> bool:
        """Write the clip of a stored visit, in place of an earlier one; older clips make room for it.

        Args:
            number: The visit's number.
            clip: The clip with its `webm`.

        Returns:
            False if the visit is gone, or the clip is too large for the file.

        Raises:
            HmdrnError: The file cannot be written; nothing of the clip is then in it.
        """
        if clip.webm is None:
            raise ValueError("a clip to store needs its webm")
        values = [format_time(clip.start), clip.duration, clip.width, clip.height, clip.webm]
        with self.transaction() as connection:
            if not make_room_for_clip(connection, self._max_bytes, len(clip.webm)):
                return False
            self._prune(connection, len(clip.webm))
            statement = (
                f"INSERT OR REPLACE INTO clips ({', '.join(CLIP_COLUMNS)}, webm) "
                "SELECT id, ?, ?, ?, ?, ? FROM visits WHERE id = ?"
            )
            return connection.execute(statement, [*values, number]).rowcount == 1

    def shrink_log(self) -> None:
        """Write SQLite's log into the file, and give its room back where that is possible."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close_open(self) -> int:
        """Close the visits that a killed run left open, and return their number."""
        with self.transaction() as connection:
            return connection.execute("UPDATE visits SET closed = 1 WHERE closed = 0").rowcount

    def find(
        self, where: VisitFilter | None = None, limit: int | None = None, newest_first: bool = False
    ) -> list[Visit]:
        """Return visits by the time of their start.

        Args:
            where: Conditions; all visits if None.
            limit: Most visits to return.
            newest_first: Whether to begin with the last visit.
        """
        condition, parameters = (where or VisitFilter()).to_sql()
        order = "DESC" if newest_first else "ASC"
        rows = self.query(
            f"SELECT * FROM visits WHERE {condition} ORDER BY start_time {order}, id {order} LIMIT ?",
            [*parameters, -1 if limit is None else limit],
        )
        ids = [row["id"] for row in rows]
        pictures: dict[int, list[VisitPicture]] = {number: [] for number in ids}
        for row in self._query_of_visits("pictures", PICTURE_COLUMNS, ids):
            pictures[row["visit"]].append(read_picture(row))
        clips = {row["visit"]: read_clip(row) for row in self._query_of_visits("clips", CLIP_COLUMNS, ids)}
        return [read_visit(row, pictures[row["id"]], clips.get(row["id"])) for row in rows]

    def get(self, number: int) -> Visit:
        """Return one visit.

        Raises:
            HmdrnError: No visit has this number.
        """
        visits = self.find(VisitFilter(ids=[number]))
        if not visits:
            raise HmdrnError(f"no visit {number} in {self.path}: hmdrn visits list shows their numbers")
        return visits[0]

    def count(self, where: VisitFilter | None = None) -> int:
        """Return the number of visits."""
        condition, parameters = (where or VisitFilter()).to_sql()
        return int(self.query(f"SELECT count(*) FROM visits WHERE {condition}", parameters)[0][0])

    def read_picture(self, number: int) -> bytes:
        """Return a picture as JPEG.

        Raises:
            HmdrnError: No picture has this number.
        """
        rows = self.query("SELECT jpeg FROM pictures WHERE id = ?", [number])
        if not rows:
            raise HmdrnError(f"no picture {number} in {self.path}: it was removed to make room, perhaps")
        return bytes(rows[0]["jpeg"])

    def read_clip(self, number: int) -> bytes:
        """Return the clip of a visit as WebM.

        Raises:
            HmdrnError: The visit has no clip.
        """
        rows = self.query("SELECT webm FROM clips WHERE visit = ?", [number])
        if not rows:
            raise HmdrnError(f"no clip of visit {number} in {self.path}: hmdrn watch --clips keeps clips")
        return bytes(rows[0]["webm"])

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return the rows of a statement that only reads; docs/visits.md describes the tables."""
        with self._lock, _explained(self.path, "read"):
            return self._connection.execute(sql, list(parameters)).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the file as a whole or, if the block raises, not at all.

        Raises:
            HmdrnError: The file cannot be written.
        """
        with self._lock, _explained(self.path, "write"):
            if self._connection.in_transaction:  # a part of a larger change
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _query_of_visits(
        self, table: str, columns: Sequence[str], ids: Sequence[int]
    ) -> Iterator[sqlite3.Row]:
        """Yield the rows of a table that belong to visits, those of one visit by their number."""
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            marks = ",".join("?" * len(some))
            yield from self.query(
                f"SELECT {', '.join(columns)} FROM {table} WHERE visit IN ({marks}) ORDER BY visit, rowid",
                some,
            )

    def _prune(self, connection: sqlite3.Connection, incoming: int) -> None:
        if self._max_days is not None:
            delete_old_visits(connection, self._max_days)
        make_room(connection, self._max_bytes, incoming)


@contextmanager
def _explained(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise HmdrnError(
            f"cannot {verb} visits {path} ({error}): make room on the disk, or give another file"
        ) from error
