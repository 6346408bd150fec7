"""Times as users write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from hmdrn.visits.filter import parse_time
from hmdrn_runtime.errors import HmdrnError

NOW = datetime(2026, 5, 3, 12, 0).astimezone()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01", datetime(2026, 5, 1).astimezone()),
        ("2026-05-01 08:30", datetime(2026, 5, 1, 8, 30).astimezone()),
        ("2026-05-01T08:30:00Z", datetime(2026, 5, 1, 8, 30, tzinfo=timezone.utc)),
        ("2026-05-01T08:30:00+02:00", datetime(2026, 5, 1, 6, 30, tzinfo=timezone.utc)),
        ("today", datetime(2026, 5, 3).astimezone()),
        ("Yesterday", datetime(2026, 5, 2).astimezone()),
        ("90m", NOW - timedelta(minutes=90)),
        (" 7d ", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_days_times_and_ages_are_understood(text, expected):
    assert parse_time(text, NOW) == expected


def test_a_day_as_an_end_is_its_last_moment():
    assert parse_time("2026-05-01", NOW, is_end=True) == datetime(2026, 5, 2).astimezone()
    assert parse_time("2026-05-01T08:30:00Z", is_end=True) == datetime(2026, 5, 1, 8, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "7", "7y", "999999w", "2026-05-01T25:00"])
def test_other_words_are_refused_with_examples(text):
    with pytest.raises(HmdrnError, match="is not a time: give a date such as"):
        parse_time(text, NOW)
