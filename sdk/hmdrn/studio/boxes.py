"""Boxes that a visitor draws on a picture, or gives as numbers."""

from __future__ import annotations

from collections.abc import Sequence

from hmdrn.studio.html import Html, element
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box

BOX_SIDES = ("left", "top", "right", "bottom")
"""Names of the fields of a box."""


def parse_box(sides: Sequence[str]) -> Box:
    """Return a box of four texts, in pixels; `clip_box` and `crop_box` check it against a picture.

    Raises:
        HmdrnError: They are not four numbers.
    """
    try:
        x0, y0, x1, y1 = map(float, sides)
    except ValueError as error:
        shown = ", ".join(sides)[:60]
        raise HmdrnError(f"the box is {shown!r}: give left, top, right and bottom edge in pixels") from error
    return x0, y0, x1, y1


def box_fields(box: Box | None) -> Html:
    """Return four fields for the edges of a box."""
    values = [None] * 4 if box is None else [f"{side:g}" for side in box]
    fields = [
        element(
            "label",
            name.capitalize(),
            element("input", type="number", name=name, value=value, min=0, inputmode="numeric"),
        )
        for name, value in zip(BOX_SIDES, values, strict=True)
    ]
    return element("div", *fields, class_="row box")
