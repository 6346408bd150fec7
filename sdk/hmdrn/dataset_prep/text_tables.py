"""Parse the lists of the archives: one record a line, columns separated by blanks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hmdrn_runtime.datasets.system_files import is_system_path
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.gallery.labels import normalize_label

MAX_NAME = 120
"""Most characters of a class's or photo's name."""


def parse_rows(data: bytes, columns: int, where: str) -> Iterator[list[str]]:
    """Yield the records of a list; the last column is the rest of the line, empty lines are skipped.

    Raises:
        DatasetError: The data are not text, or a line has too few columns.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where} is not text: download the archive again") from error
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split(maxsplit=columns - 1)
        if fields and len(fields) != columns:
            raise DatasetError(
                f"line {number} of {where} has {len(fields)} of {columns} columns: download the archive again"
            )
        if fields:
            yield [field.strip() for field in fields]


def parse_int(text: str, where: str) -> int:
    """Parse a whole number of at most nine digits; anything else raises a DatasetError."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise DatasetError(f"{where} has {text[:40]!r} where a number belongs: download the archive again")
    return int(text)


def parse_box(values: Sequence[object], where: str) -> tuple[float, float, float, float]:
    """Parse the four finite numbers of a box; anything else raises a DatasetError."""
    try:
        left, top, right, bottom = (float(str(value)) for value in values)
        if not all(map(math.isfinite, (left, top, right, bottom))):
            raise ValueError
    except ValueError as error:
        raise DatasetError(
            f"{where} has a box of {' '.join(map(str, values))[:80]!r}, which is not four numbers: "
            "download the archive again"
        ) from error
    return left, top, right, bottom


def safe_label(name: str, where: str) -> str:
    """Make a name fit to be a folder's or file's on every system: "-" replaces slashes, as in "F-16A/B".

    Args:
        name: The name in the archive.
        where: The file that has the name, for messages.

    Raises:
        DatasetError: The name is empty, hidden, not printable or longer than `MAX_NAME`.
    """
    label = normalize_label(name).replace("/", "-").replace("\\", "-")
    if not label or len(label) > MAX_NAME or is_system_path([label]) or not label.isprintable():
        raise DatasetError(
            f"{where} has a name that a folder cannot have, {name[: MAX_NAME + 1]!r}: "
            "it is damaged, or not one of the known archives"
        )
    return label
