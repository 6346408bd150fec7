"""Schema of the diary's file, and opening it. docs/visits.md describes the tables."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import check_parent_folder, describe_os_error, expand_path

SCHEMA_VERSION = 2
"""SQLite's `user_version` of the files that this release writes."""
APPLICATION_ID = 0x686D7673
"""SQLite's `application_id`: "hmvs"."""
_BUSY_SECONDS = 10.0
"""Seconds to wait for another process that writes."""
_WAL_BYTES = 1 << 19
"""Bytes that the write-ahead log may keep on the disk between two uses."""
_WAL_PAGES = 64
"""Pages of 4 KB in the log from which it is written into the file: on a full disk it has to be small."""

_NAMING = """
    label TEXT,                -- species; NULL if unknown or not a subject
    known INTEGER,             -- 1, 0, or NULL without a calibrated gallery
    probability REAL,          -- of the label, 0 to 1
    score REAL,                -- open-set score, NULL without a calibrated gallery
    nearest TEXT,              -- most probable species, also if unknown
    model TEXT NOT NULL,       -- fingerprint of the network
    generation INTEGER NOT NULL, -- of the gallery
    verdict TEXT"""
_TABLES = f"""
CREATE TABLE visits (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    start_time TEXT NOT NULL,  -- UTC, ISO 8601 with milliseconds
    end_time TEXT NOT NULL,
    duration REAL NOT NULL,    -- seconds, by a clock that does not jump
    source TEXT NOT NULL,
    track INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    closed INTEGER NOT NULL,   -- 0 while the subject is there
{_NAMING}                      -- a person's: 'species', 'not-a-subject', or NULL
);
CREATE INDEX visits_start ON visits (start_time);
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    visit INTEGER NOT NULL REFERENCES visits (id) ON DELETE CASCADE,
    reasons TEXT NOT NULL,     -- of 'sharpest', 'largest', 'typical', separated by blanks
    time TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    box TEXT,                  -- JSON list x0, y0, x1, y1 in pixels of the frame
    jpeg BLOB NOT NULL
);
CREATE INDEX pictures_visit ON pictures (visit);
CREATE TABLE changes (         -- corrections and renamings, which can be undone
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    kind TEXT NOT NULL,        -- 'correct' or 'rename'
    gallery TEXT,              -- path of the gallery that was changed
    enrolled TEXT NOT NULL,    -- JSON list of [label, digest, visit]: photos that it added to the gallery
    removed TEXT NOT NULL,     -- the same of photos that it took out
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE former_names (    -- the names that a change replaced
    change INTEGER NOT NULL REFERENCES changes (id) ON DELETE CASCADE,
    visit INTEGER NOT NULL REFERENCES visits (id) ON DELETE CASCADE,
{_NAMING},
    PRIMARY KEY (change, visit)
);
CREATE TABLE files (           -- photos that hmdrn label has read
    path TEXT NOT NULL,        -- relative to the folder
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL, -- nanoseconds since 1970
    time TEXT,                 -- of capture
    visit INTEGER REFERENCES visits (id) ON DELETE SET NULL,
    label TEXT,                -- of this photo alone
    known INTEGER,
    probability REAL,
    error TEXT,                -- the reason if it cannot be read
    PRIMARY KEY (path, size, modified)
) WITHOUT ROWID;
CREATE INDEX files_visit ON files (visit);
"""
_CLIPS = """
CREATE TABLE clips (           -- since version 2
    visit INTEGER PRIMARY KEY REFERENCES visits (id) ON DELETE CASCADE,
    start_time TEXT NOT NULL,  -- of its first frame
    duration REAL NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    webm BLOB NOT NULL         -- VP8
);
"""


def open_database(path: str | os.PathLike[str], create: bool) -> tuple[Path, sqlite3.Connection]:
    """Open a diary's file.

    Args:
        path: The file.
        create: Whether to make it if it is missing.

    Returns:
        The expanded path, and a connection without implicit transactions.

    Raises:
        HmdrnError: It is missing, not a diary, damaged, of a newer hmdrn, or cannot be opened.
    """
    target = expand_path(path, HmdrnError)
    if target.is_dir():
        raise HmdrnError(f"{target} is a folder: give the path of a file of visits")
    if not target.exists():
        if not create:
            raise HmdrnError(f"no visits at {target}: hmdrn watch --visits writes them; check the path")
        check_parent_folder(target, "visits", HmdrnError)
        _make_private_file(target)
    try:
        connection = _connect(target)
        try:
            _prepare(connection, target, create)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise HmdrnError(
            f"{target} cannot be opened as visits ({error}): it is not a file of visits, or "
            "is damaged; give another path"
        ) from error
    return target, connection


def _make_private_file(path: Path) -> None:
    try:
        # SQLite gives the files beside it, -wal and -shm, the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise HmdrnError(f"cannot write visits {path}: {describe_os_error(error)}") from error


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _connect(path: Path) -> sqlite3.Connection:
    # A reader of a file in WAL mode would make files beside it, which a read-only medium refuses.
    mode = "mode=rw" if _is_writable(path) else "mode=ro&immutable=1"
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path.resolve()))}?{mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _prepare(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if version == 0 and application == 0 and create:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise HmdrnError(f"{path} is another program's database: give another path for the visits")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("PRAGMA user_version").fetchone()[0]:  # else another process was faster
            for statement in (_TABLES + _CLIPS).split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    elif application != APPLICATION_ID:
        raise HmdrnError(f"{path} is not a file of visits: give one that hmdrn watch --visits wrote")
    elif version > SCHEMA_VERSION:
        raise HmdrnError(
            f"{path} was written by a newer hmdrn (schema {version}, this one reads {SCHEMA_VERSION}): "
            "update hmdrn, or give another path"
        )
    elif version < SCHEMA_VERSION:
        _update(connection, _is_writable(path))
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # a closed visit survives a power cut
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    connection.row_factory = sqlite3.Row


def _update(connection: sqlite3.Connection, is_writable: bool) -> None:
    """Add the table of clips to a file of version 1; on a read-only medium an empty one in memory."""
    if not is_writable:
        connection.execute(_CLIPS.replace("CREATE TABLE", "CREATE TEMP TABLE"))
        return
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:  # else another was faster
        connection.execute(_CLIPS)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
