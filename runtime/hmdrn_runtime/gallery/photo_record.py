"""Facts about an enrolled photo for people: its file's name, its times and its verdict."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timezone

from hmdrn_runtime.credentials import mask_secrets

MAX_TEXT = 255
"""Most characters of each entry; longer ones are cut off."""


@dataclass(frozen=True)
class PhotoRecord:
    """Facts about an enrolled photo; each is empty if it is unknown or not kept.

    Attributes:
        name: Base name of its file.
        taken: Time of capture in its EXIF, UTC, e.g. "2026-05-01T08:30:00Z".
        enrolled: Time of its enrollment, UTC by the device's clock.
        verdict: Its verdict at its enrollment, as in the enrollment's report.

    Examples:
        >>> gallery = hmdrn.load_gallery("site7.gallery")
        >>> [photo.record.name for photo in gallery.species["Sooty Albatross"].photos.values()][0] != ""
        True
    """

    name: str = ""
    taken: str = ""
    enrolled: str = ""
    verdict: str = ""


def make_record(name: str, taken: datetime | None) -> PhotoRecord:
    """Return the record of a photo that is enrolled now.

    Args:
        name: Its file's name or path, of which the last part is kept; undecodable bytes are escaped.
        taken: Time of capture.
    """
    base = os.path.basename(name).encode("utf-8", "backslashreplace").decode()  # noqa: PTH119 (any text)
    when = "" if taken is None else format_utc(taken)
    return PhotoRecord(base[:MAX_TEXT], when, format_utc(datetime.now(timezone.utc)))


def merge_records(first: PhotoRecord, second: PhotoRecord) -> PhotoRecord:
    """Return the record to keep of one photo's two, whatever the order.

    It is one with a name, else with a verdict, else the earlier; what it lacks is taken from the other.
    """

    def rank(record: PhotoRecord) -> tuple[object, ...]:
        return not record.name, not record.verdict, not record.enrolled, record.enrolled, *astuple(record)

    best, other = sorted((first, second), key=rank)
    return replace(best, taken=best.taken or other.taken, verdict=best.verdict or other.verdict)


def format_utc(moment: datetime) -> str:
    """Return a time as text, to the second, e.g. "2026-05-01T08:30:00Z"."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def escape_name(text: str) -> str:
    """Return a name for people: without secrets, and what controls the text around it is escaped."""
    shown = mask_secrets(text)
    return shown if shown.isprintable() else repr(shown)
