"""What a safetensors file says of itself, bounded before anything of it is parsed.

A list of a few letters becomes a hundred bytes in memory: a small file of nothing but metadata could fill
a device's. What describes arrays is small beside them, so the limit grows with the arrays.
"""

from __future__ import annotations

import os
from pathlib import Path

from hmdrn_runtime.errors import HmdrnError

BASE = 8_000_000
"""Bytes that any header may have."""
SHARE = 8
"""A larger header may have a byte for every so many bytes of arrays."""
_LENGTH = 8


def most_header(arrays: int) -> int:
    """Most bytes of the header of a file with so many bytes of arrays."""
    return max(BASE, arrays // SHARE)


def header_bytes(data: bytes) -> int:
    """The length of a header, which a file begins with in 8 bytes."""
    return int.from_bytes(data[:_LENGTH], "little")


def check_header(path: Path, what: str, error: type[HmdrnError]) -> None:
    """Refuse a file whose header is larger than its arrays call for.

    A header that would end behind the file is left to the parser, which refuses it unread.

    Args:
        path: The file.
        what: What it is, for the message, e.g. "gallery".
        error: What to raise.

    Raises:
        OSError: It cannot be read.
        HmdrnError: Of the type `error`: the header is over the limit.
    """
    with path.open("rb") as file:
        length = header_bytes(file.read(_LENGTH))
        arrays = os.fstat(file.fileno()).st_size - _LENGTH - length
    if arrays >= 0 and length > (most := most_header(arrays)):
        raise error(
            f"{what} {path} is damaged: it has {length} bytes of metadata for {arrays} bytes of arrays, "
            f"more than the {most} that can belong to them"
        )
