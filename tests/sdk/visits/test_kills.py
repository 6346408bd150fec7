"""A day of 1,000 visits, killed at twenty random moments; HMDRN_SOAK=full makes it 10,000 and a hundred."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from dataclasses import replace

import pytest
from visit_examples import make_clip, make_visit

from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.store import VisitStore

VISITS, KILLS = (10_000, 100) if os.environ.get("HMDRN_SOAK") == "full" else (1_000, 20)
SECONDS = 86_400 / VISITS
CLIP_BYTES = 50_000
"""More than a dozen pages: a kill may come between them."""


def write_visits(path, out: int) -> None:
    """Write visits where the last run ended, each in two steps, and a clip of every third.

    Reports the number of each that ended.
    """
    example = make_visit()
    with VisitStore(path, create=True) as store:
        store.close_open()
        first = store.query("SELECT coalesce(max(track), 0) + 1 FROM visits")[0][0]
        for number in range(first, VISITS + 1):
            visit = replace(make_visit(number * SECONDS / 3600, pictures=0), track=number, closed=False)
            visit = store.save(replace(visit, pictures=example.pictures[:1]))
            store.save(replace(visit, duration=8.0, closed=True, pictures=example.pictures))
            os.write(out, f"{number}\n".encode())
            if number % 3 == 0:
                store.save_clip(visit.id, make_clip(CLIP_BYTES))


def run_until_killed(path, seconds: float) -> set[int]:
    """Run the writer in a process of its own for some seconds; returns the visits that it reported."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with contextlib.suppress(BaseException):
            write_visits(path, writer)
        os._exit(0)
    os.close(writer)
    deadline, text = time.monotonic() + seconds, b""
    os.set_blocking(reader, False)
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            part = os.read(reader, 65536)
            if not part:
                break
            text += part
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.set_blocking(reader, True)
    while part := os.read(reader, 65536):
        text += part
    os.close(reader)
    return {int(line) for line in text.split(b"\n")[:-1]}


@pytest.mark.slow
def test_no_closed_visit_is_lost_or_doubled_by_a_kill(tmp_path):
    path, random_ = tmp_path / "day.visits", random.Random(5)
    reported: set[int] = set()
    for kill in range(KILLS):
        reported |= run_until_killed(path, random_.uniform(0.0, 0.25))
        if kill % 10 == 0 and path.exists():
            _check(path, reported)
    assert 0 < len(reported) < VISITS
    reported |= run_until_killed(path, 600.0)  # to the end of the day
    _check(path, reported)
    assert len(reported) >= VISITS - KILLS  # a kill may come between the end of a visit and its report
    with VisitStore(path) as store:
        assert store.count() == store.count(VisitFilter(closed=True)) == VISITS
        missing = VISITS // 3 - store.query("SELECT count(*) FROM clips")[0][0]
        assert 0 <= missing <= KILLS, "a kill may come before a clip, which is not made again"


def _check(path, reported: set[int]) -> None:
    """Check the file with SQLite alone."""
    file = sqlite3.connect(path)
    assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert file.execute("PRAGMA foreign_key_check").fetchall() == []
    rows = dict(file.execute("SELECT track, count(*) FROM visits GROUP BY track").fetchall())
    assert set(rows.values()) == {1}
    ended = {track for (track,) in file.execute("SELECT track FROM visits WHERE duration = 8.0")}
    assert reported <= ended
    counts = file.execute(
        "SELECT duration, count(pictures.id) FROM visits LEFT JOIN pictures ON visit = visits.id "
        "GROUP BY visits.id"
    ).fetchall()
    assert {(duration, pictures) for duration, pictures in counts} <= {(8.0, 2), (4.0, 1)}
    clips = file.execute("SELECT DISTINCT length(webm), track % 3 FROM clips JOIN visits ON id = visit")
    assert set(clips.fetchall()) <= {(CLIP_BYTES, 0)}
    visits_of_clips = "SELECT count(*), count(visits.id) FROM clips LEFT JOIN visits ON id = visit"
    assert len(set(file.execute(visits_of_clips).fetchone())) == 1
    file.close()
