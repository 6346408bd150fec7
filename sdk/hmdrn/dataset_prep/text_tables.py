"""The lists of the archives: a record a line, columns parted by blanks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hmdrn_runtime.errors import DatasetError


def rows(data: bytes, columns: int, where: str) -> Iterator[list[str]]:
    """The records of a list; the last column is the rest of the line, empty lines are passed over.

    Raises:
        DatasetError: It is no text, or a line has too few columns.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where} is no text: download the archive again") from error
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split(maxsplit=columns - 1)
        if not fields:
            continue
        if len(fields) != columns:
            raise DatasetError(
                f"line {number} of {where} has {len(fields)} of {columns} columns: download the archive again"
            )
        yield [field.strip() for field in fields]


def whole(text: str, where: str) -> int:
    """A number of a list.

    Raises:
        DatasetError: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise DatasetError(f"{where} has {text[:40]!r} where a number belongs: download the archive again")
    return int(text)


def edges(texts: Sequence[object], where: str) -> tuple[float, float, float, float]:
    """Four numbers of a list.

    Raises:
        DatasetError: They are none.
    """
    try:
        left, top, right, bottom = (float(str(text)) for text in texts)
        if not all(map(math.isfinite, (left, top, right, bottom))):
            raise ValueError
    except ValueError as error:
        raise DatasetError(
            f"{where} has a box of {' '.join(map(str, texts))[:80]!r}, which are no four numbers: "
            "download the archive again"
        ) from error
    return left, top, right, bottom
