"""Numbers of visits by species, hour and day, as tables whose cells are darker for more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import render_page, table
from hmdrn.studio.pages.visit_filter import parse_filter
from hmdrn.studio.requests import Sent, answer
from hmdrn.studio.session import StudioSession
from hmdrn.visits.statistics import SpeciesVisits, count_visits

e = element
PAGE = "/visits/statistics"
_DAYS = 31
_SHADES = 4


def list_routes(session: StudioSession) -> list[Route]:
    """Return the address of the page."""

    def show(sent: Sent) -> Response:
        species = count_visits(session.diary.find(parse_filter(sent.query))).species
        return render_page(
            session,
            "/visits",
            "Statistics",
            e("p", e("a", "All visits", href="/visits")),
            *(_render(species) if species else [e("p", "No visits to count.")]),
        )

    return [Route(PAGE, answer(show))]


def _render(species: Sequence[SpeciesVisits]) -> list[Html]:
    rows = [
        e(
            "tr",
            e("th", entry.text, scope="row"),
            e("td", str(entry.visits)),
            e("td", f"{entry.seconds / entry.visits:.0f} s"),
            e("td", f"{entry.first.astimezone():%Y-%m-%d %H:%M}"),
            e("td", f"{entry.last.astimezone():%Y-%m-%d %H:%M}"),
        )
        for entry in species
    ]
    heads = ("Species", "Visits", "Mean duration", "First", "Last")
    hours = [[entry.hours[hour] for hour in range(24)] for entry in species]
    days = _list_days(species)
    by_day = [[entry.days.get(str(day), 0) for day in days] for entry in species]
    names = [entry.text for entry in species]
    return [
        e("section", e("h2", "By species"), table("Visits by species", heads, rows)),
        e(
            "section",
            e("h2", "By hour of the day"),
            _render_counts("Visits by hour of the day", names, [f"{hour:02d}" for hour in range(24)], hours),
        ),
        e(
            "section",
            e("h2", f"By day, the last {len(days)}" if len(days) == _DAYS else "By day"),
            _render_counts("Visits by day", names, [f"{day:%m-%d}" for day in days], by_day),
        ),
    ]


def _list_days(species: Sequence[SpeciesVisits]) -> list[date]:
    days = [date.fromisoformat(day) for entry in species for day in entry.days]
    first = max(min(days), max(days) - timedelta(days=_DAYS - 1))
    return [first + timedelta(days=i) for i in range((max(days) - first).days + 1)]


def _render_counts(
    title: str, names: Sequence[str], heads: Sequence[str], counts: Sequence[Sequence[int]]
) -> Html:
    largest = max((value for row in counts for value in row), default=0)
    rows = [
        e("tr", e("th", name, scope="row"), *(_render_count(value, largest) for value in row))
        for name, row in zip(names, counts, strict=True)
    ]
    return table(title, ("Species", *heads), rows, class_="counted")


def _render_count(value: int, largest: int) -> Html:
    shade = -(-_SHADES * value // largest) if largest else 0
    return e("td", str(value) if value else "", class_=f"shade-{shade}")
