"""Types and callbacks of options: finite numbers, lists of counts, regions."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hmdrn_runtime.images.preprocessing import Box


class FiniteRange(click.FloatRange):
    """A number within bounds; infinity, and NaN, which passes every comparison, are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def parse_counts(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Parse an option's whole numbers, such as "1,5,10"."""
    try:
        return None if value is None else tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number nor several, such as 1,5,10") from error


def parse_region(context: click.Context, option: click.Parameter, value: str | None) -> Box | None:
    """Parse an option's "x0,y0,x1,y1", in pixels."""
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = (float(side) for side in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not four numbers, such as 100,50,420,370") from error
    return x0, y0, x1, y1


def parse_moment(context: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    """Parse an option's time, in the local time zone unless it has one; see `visits.filter.parse_time`."""
    from hmdrn.visits.filter import parse_time

    return None if value is None else parse_time(value)
