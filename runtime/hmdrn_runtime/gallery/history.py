"""The history of changes to a gallery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from hmdrn_runtime.gallery.photo_record import format_utc

MAX_CHANGES = 200
"""Changes kept in the history; older ones are dropped."""
MERGED_FILE = "merged what another process had saved"
"""Change made by merging with the file; several in a row are reduced to the last."""


@dataclass(frozen=True)
class Change:
    """One change of a gallery.

    Attributes:
        generation: The gallery's generation after it.
        what: A description, e.g. "added 3 photos".
        label: The species; None if the change concerns several.
        when: UTC by the device's clock, e.g. "2026-05-01T08:30:00Z".
    """

    generation: int
    what: str
    label: str | None
    when: str


def make_change(generation: int, what: str, label: str | None = None) -> Change:
    """Return a change with the present time."""
    return Change(generation, what, label, format_utc(datetime.now(timezone.utc)))


def merge_histories(first: tuple[Change, ...], second: tuple[Change, ...]) -> tuple[Change, ...]:
    """Merge two histories that share their beginning: each change once, ordered by generation.

    Time orders only changes of one generation: the clock of a device without a battery starts in 1970.
    """
    merged: list[Change] = []
    changes = {*first, *second}
    for change in sorted(changes, key=lambda c: (c.generation, c.when, c.what, c.label or "")):
        if merged and merged[-1].what == change.what == MERGED_FILE:
            merged.pop()
        merged.append(change)
    return tuple(merged[-MAX_CHANGES:])
