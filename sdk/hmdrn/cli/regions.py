"""The option for a part of a photo."""

from __future__ import annotations

import click

from hmdrn_runtime.images.preprocessing import Box


def parse_region(context: click.Context, option: click.Parameter, value: str | None) -> Box | None:
    """An option's "x0,y0,x1,y1", in pixels.

    Raises:
        click.BadParameter: It is not four numbers.
    """
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = (float(side) for side in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not four numbers, such as 100,50,420,370") from error
    return x0, y0, x1, y1
