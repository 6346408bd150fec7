"""Arguments and options that the verbs of `hmdrn visits` share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from hmdrn.cli.options import PATH, Decorator, option
from hmdrn.visits.filter import VisitFilter, parse_time
from hmdrn.visits.visit import Visit

file_argument: Decorator = click.argument("file", metavar="FILE", type=PATH)
ids_argument: Decorator = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=int)
bundle_option: Decorator = option(
    "--bundle", default="default", help="The bundle that the gallery belongs to."
)
limit_option: Decorator = option(
    "--limit", type=click.IntRange(1), metavar="N", help="Only the newest N visits."
)


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare the options that choose visits; the function gets them as `where`, a `VisitFilter`."""

    @functools.wraps(function)
    def call(
        *args: Any,
        species: tuple[str, ...],
        since: str | None,
        until: str | None,
        is_known: bool | None,
        source: str | None,
        **kwargs: Any,
    ) -> Any:
        where = VisitFilter(
            species=species,
            since=None if since is None else parse_time(since),
            until=None if until is None else parse_time(until, is_end=True),
            known=is_known,
            source=source,
        )
        return function(*args, where=where, **kwargs)

    for declare in (
        option("--source", metavar="TEXT", help="Only visits whose source has this text in its name."),
        option(
            "--known/--unknown",
            "is_known",
            default=None,
            help="Only visits with a species, or only unknown ones.  [default: both]",
        ),
        option("--until", metavar="TIME", help="Only visits before this time, or to the end of this day."),
        option(
            "--since",
            metavar="TIME",
            help="Only visits from this time on: 2026-05-01, 2026-05-01T08:30, today, yesterday, 12h, 7d.",
        ),
        option("--species", metavar="LABEL", multiple=True, help="Only this species; may be repeated."),
    ):
        call = declare(call)
    return call


def format_local(visit: Visit) -> str:
    """Return the start of a visit in local time, for people."""
    return f"{visit.start.astimezone():%Y-%m-%d %H:%M:%S}"


def format_duration(seconds: float) -> str:
    """Return a duration for people, e.g. "4.2 s", "3 min 10 s" or "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_evidence(visit: Visit) -> str:
    """Return the evidence of a visit's name in a few words."""
    naming = visit.naming
    if naming.verdict is not None:
        return "corrected"
    if naming.probability is not None:
        return f"{100 * naming.probability:.0f} %"
    return f"most like {naming.nearest}" if naming.nearest else "-"
