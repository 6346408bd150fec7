"""The filter of the diary, in the page's address."""

from __future__ import annotations

from collections.abc import Mapping

from hmdrn.studio.html import Html, element
from hmdrn.visits.filter import VisitFilter, parse_time

e = element
PAGE = "/visits"
FILTER = ("species", "since", "until", "known", "page")
"""Parameters of the address."""
_KNOWN = {"": None, "known": True, "unknown": False}


def parse_filter(query: Mapping[str, str]) -> VisitFilter:
    """Return the filter of an address.

    Raises:
        HmdrnError: A time that cannot be read.
    """
    species = query.get("species", "").strip()
    since, until = query.get("since"), query.get("until")
    return VisitFilter(
        species=(species,) if species else (),
        since=parse_time(since) if since else None,
        until=parse_time(until, is_end=True) if until else None,
        known=_KNOWN.get(query.get("known", "")),
    )


def render_filter(query: Mapping[str, str]) -> Html:
    """Return the form of the filter."""
    known = query.get("known", "")
    names = {"": "all visits", "known": "with a species", "unknown": "unknown"}
    options = [e("option", text, value=value, selected=value == known) for value, text in names.items()]
    fields = [
        e(
            "label",
            "Species",
            e("input", name="species", list="species", value=query.get("species") or None, maxlength=120),
        ),
        *(
            e("label", text, e("input", type="date", name=name, value=query.get(name) or None))
            for name, text in (("since", "From"), ("until", "To"))
        ),
        e("label", "Show", e("select", *options, name="known")),
    ]
    is_set = any(query.get(name) for name in FILTER)
    reset = e("a", "All visits", href=PAGE, class_="button") if is_set else None
    return e("form", *fields, e("button", "Filter"), reset, action=PAGE, class_="row filter", role="search")
