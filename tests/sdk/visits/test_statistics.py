"""Counts of visits, against counts by hand."""

from __future__ import annotations

from datetime import datetime

from visit_examples import make_visit

from hmdrn.visits.statistics import count_visits


def test_visits_are_counted_by_species_hour_and_day_in_local_time():
    times = [(1, 8), (1, 8), (2, 23)]
    jays = [make_visit(0, duration=2.0, pictures=0) for _ in times]
    jays = [
        type(v)(datetime(2026, 5, day, hour, 59).astimezone(), v.duration, v.source, v.naming)
        for v, (day, hour) in zip(jays, times, strict=True)
    ]
    statistics = count_visits([*jays, make_visit(0, None, duration=5.0, pictures=0)])
    assert statistics.visits == 4
    jay, unknown = statistics.species
    assert (jay.label, jay.text, jay.visits, jay.seconds) == ("Jay", "Jay", 3, 6.0)
    assert {hour: n for hour, n in enumerate(jay.hours) if n} == {8: 2, 23: 1}
    assert jay.days == {"2026-05-01": 2, "2026-05-02": 1}
    assert (unknown.label, unknown.text, unknown.visits) == (None, "unknown", 1)


def test_no_visits_are_counted_as_none():
    assert count_visits([]).to_dict() == {"visits": 0, "species": []}
