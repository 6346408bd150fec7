"""Choosing visits: filters, and the times by which users name a period."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone

from hmdrn.visits.visit import format_time
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.labels import normalize_label

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class VisitFilter:
    """Conditions that visits must all meet; those left out do not matter.

    Attributes:
        ids: The visits' numbers.
        species: Labels, one of which the visit has.
        since: Visits that end at this time or later; with a time zone.
        until: Visits that start before this time; with a time zone.
        known: True for visits with a species, False for unknown ones that nobody has corrected.
        source: A part of the source's name.
        corrected: Whether a person has corrected it.
        closed: Whether the subject has left.

    Examples:
        >>> with hmdrn.VisitStore("site7.visits") as visits:
        ...     len(visits.find(hmdrn.VisitFilter(species=("Laysan Albatross",)))) > 0
        True
    """

    ids: Sequence[int] | None = None
    species: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    known: bool | None = None
    source: str | None = None
    corrected: bool | None = None
    closed: bool | None = None

    def to_sql(self) -> tuple[str, list[object]]:
        """Return the condition after WHERE, and its parameters."""
        conditions, parameters = ["1"], list[object]()
        if self.ids is not None:
            conditions.append(f"id IN ({','.join('?' * len(self.ids))})")
            parameters += self.ids
        if self.species:
            conditions.append(f"label IN ({','.join('?' * len(self.species))})")
            parameters += map(normalize_label, self.species)
        if self.since is not None:
            conditions.append("end_time >= ?")
            parameters.append(format_time(self.since.astimezone(timezone.utc)))
        if self.until is not None:
            conditions.append("start_time < ?")
            parameters.append(format_time(self.until.astimezone(timezone.utc)))
        if self.known is not None:
            conditions.append("label IS NOT NULL" if self.known else "label IS NULL AND verdict IS NULL")
        if self.source is not None:
            conditions.append("instr(source, ?)")
            parameters.append(self.source)
        if self.corrected is not None:
            conditions.append(f"verdict IS {'NOT ' * self.corrected}NULL")
        if self.closed is not None:
            conditions.append(f"closed = {int(self.closed)}")
        return " AND ".join(conditions), parameters


def parse_time(text: str, now: datetime | None = None, is_end: bool = False) -> datetime:
    """Return the time that a user means, in the local time zone unless the text has one.

    Args:
        text: "2026-05-01", "2026-05-01 08:30", "2026-05-01T08:30:00Z", "today", "yesterday", or an age:
            "90m", "12h", "7d", "2w".
        now: The present time; the clock's if None.
        is_end: Whether a day means its end, not its beginning.

    Raises:
        HmdrnError: The text is none of these.
    """
    now = (now or datetime.now()).astimezone()
    word = text.strip().lower()
    try:
        if age := re.fullmatch(r"(\d{1,6})([mhdw])", word):
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        if word in ("today", "yesterday"):
            day = (now - timedelta(days=word == "yesterday")).date()
        elif re.fullmatch(r"\d{4}-\d\d-\d\d", word):
            day = datetime.fromisoformat(word).date()
        else:
            moment = datetime.fromisoformat(word.upper().replace("Z", "+00:00"))
            return moment if moment.tzinfo is not None else moment.astimezone()
        return datetime.combine(day + timedelta(days=is_end), time()).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise HmdrnError(
            f"{text!r} is not a time: give a date such as 2026-05-01, with a time 2026-05-01T08:30, "
            "today, yesterday, or an age such as 12h, 7d or 2w"
        ) from error
