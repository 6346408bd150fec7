"""Counts of visits by species, hour and day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hmdrn.visits.visit import Visit, format_time


@dataclass(frozen=True)
class SpeciesVisits:
    """The visits of one species; hours and days are in local time.

    Attributes:
        label: The species; None of unknown visits.
        text: The species, "unknown" or "not a subject".
        visits: Number of visits.
        seconds: Their duration together.
        first: Start of the first.
        last: Start of the last.
        hours: Number of visits that start in each hour of the day, 24.
        days: Number of visits by the day of their start, e.g. "2026-05-01".
    """

    label: str | None
    text: str
    visits: int
    seconds: float
    first: datetime
    last: datetime
    hours: tuple[int, ...]
    days: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "label": self.label,
            "text": self.text,
            "visits": self.visits,
            "seconds": round(self.seconds, 1),
            "first": format_time(self.first),
            "last": format_time(self.last),
            "hours": list(self.hours),
            "days": dict(self.days),
        }


@dataclass(frozen=True)
class VisitStatistics:
    """Counts of visits.

    Attributes:
        species: By species, the most frequent first.
    """

    species: tuple[SpeciesVisits, ...]

    @property
    def visits(self) -> int:
        """Number of visits."""
        return sum(species.visits for species in self.species)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"visits": self.visits, "species": [species.to_dict() for species in self.species]}


def count_visits(visits: Iterable[Visit]) -> VisitStatistics:
    """Count visits by species, hour and day."""
    groups: dict[str, list[Visit]] = {}
    for visit in visits:
        groups.setdefault(visit.naming.text, []).append(visit)
    counted = [_count(text, group) for text, group in groups.items()]
    return VisitStatistics(tuple(sorted(counted, key=lambda s: (-s.visits, s.text))))


def _count(text: str, visits: list[Visit]) -> SpeciesVisits:
    hours, days = [0] * 24, dict[str, int]()
    for visit in visits:
        start = visit.start.astimezone()
        hours[start.hour] += 1
        day = f"{start:%Y-%m-%d}"
        days[day] = days.get(day, 0) + 1
    starts = [visit.start for visit in visits]
    seconds = sum(visit.duration for visit in visits)
    return SpeciesVisits(
        visits[0].label,
        text,
        len(visits),
        seconds,
        min(starts),
        max(starts),
        tuple(hours),
        dict(sorted(days.items())),
    )
