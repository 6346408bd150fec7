"""Limits on the header of a safetensors file, checked before any of it is parsed.

In memory a JSON list of a few letters takes a hundred bytes, so a small file of nothing but metadata could
fill a device's memory. An honest header is small beside its arrays: the limit grows with them.
"""

from __future__ import annotations

import os
from pathlib import Path

from hmdrn_runtime.errors import HmdrnError

BASE_HEADER_SIZE = 8_000_000
"""Bytes that any header may have."""
ARRAY_BYTES_PER_HEADER_BYTE = 8
"""A header above `BASE_HEADER_SIZE` needs this many bytes of arrays for each of its own."""
LENGTH_BYTES = 8
"""Bytes of a file before its header: the header's length."""


def max_header_size(array_bytes: int) -> int:
    """Return the largest header, in bytes, of a file with this many bytes of arrays."""
    return max(BASE_HEADER_SIZE, array_bytes // ARRAY_BYTES_PER_HEADER_BYTE)


def read_header_size(data: bytes) -> int:
    """Return the header's length in bytes from the 8 bytes that a file begins with."""
    return int.from_bytes(data[:LENGTH_BYTES], "little")


def check_header_size(path: Path, kind: str, error: type[HmdrnError]) -> None:
    """Raise `error` if the header of a file, e.g. of kind "gallery", is over the limit for its arrays.

    A header that reaches past the end of the file is left to the parser, which refuses it unread.

    Raises:
        OSError: The file cannot be read.
        HmdrnError: Of the type `error`: the header is over the limit.
    """
    with path.open("rb") as file:
        size = read_header_size(file.read(LENGTH_BYTES))
        array_bytes = os.fstat(file.fileno()).st_size - LENGTH_BYTES - size
    if array_bytes >= 0 and size > (limit := max_header_size(array_bytes)):
        raise error(
            f"{kind} {path} is damaged: it has {size} bytes of metadata for {array_bytes} bytes of arrays, "
            f"more than the limit of {limit}"
        )
