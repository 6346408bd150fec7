"""What was done to a gallery, for people who ask later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

KEPT = 200
"""Changes that are remembered; older ones are left out."""
TOOK_IN = "took in what another process had saved"
"""Said of a state that is made of two; several in a row say no more than the last."""


@dataclass(frozen=True)
class Change:
    """One change of a gallery.

    Attributes:
        generation: The gallery's generation after it.
        what: What was done, e.g. "added 3 photos".
        label: The species; None where it was several.
        when: UTC by the device's clock, e.g. "2026-05-01T08:30:00Z".
    """

    generation: int
    what: str
    label: str | None
    when: str


def change_now(generation: int, what: str, label: str | None = None) -> Change:
    """A change that is being made."""
    return Change(generation, what, label, f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}")


def together(one: tuple[Change, ...], other: tuple[Change, ...]) -> tuple[Change, ...]:
    """Two histories that share their beginning as one, each change once, in the order of time."""
    changes = dict.fromkeys((*one, *other))
    found: list[Change] = []
    for change in sorted(changes, key=lambda change: (change.when, change.generation)):
        if found and found[-1].what == change.what == TOOK_IN:
            found.pop()
        found.append(change)
    return tuple(found[-KEPT:])
