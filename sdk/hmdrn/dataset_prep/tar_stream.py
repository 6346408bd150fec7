"""A stream for tarfile that neither takes in what a hostile archive asks it to nor misses a cut-off end."""

from __future__ import annotations

from typing import IO

from hmdrn_runtime.errors import DatasetError

_BLOCK, _PIECE, _MAX_PADDING = 512, 1 << 16, 1 << 26


class BoundedStream:
    """The bytes of a tar, read in pieces of at most `limit`.

    tarfile takes the length of a long name or of an extended header on trust and reads it at once, which
    may be more than there is memory for. And it takes a tar that was cut off between two members for whole.
    """

    def __init__(self, stream: IO[bytes], limit: int, name: str) -> None:
        self._stream, self._limit, self._name = stream, limit, name
        self._last = b""

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes.

        Raises:
            DatasetError: That is more than the limit.
        """
        if not 0 <= size <= self._limit:
            raise DatasetError(
                f"{self._name} has a header of {size} bytes, over the limit of {self._limit}: "
                "do not trust this archive"
            )
        self._last = self._stream.read(size)
        return self._last

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to a position."""
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        """The position."""
        return self._stream.tell()

    def check_end(self) -> None:
        """After the last member: refuse a tar without the mark at its end, and check the packing's own sum.

        Raises:
            DatasetError: It was cut off.
            Exception: Of nearly any type, where the bytes are not those that were packed.
        """
        if self._last != bytes(_BLOCK):
            raise DatasetError(f"{self._name} ends early: it was not downloaded whole; download it again")
        # gzip compares the sum where its data end, which is some padding further on.
        for _ in range(_MAX_PADDING // _PIECE):
            if not self._stream.read(_PIECE):
                return
        raise DatasetError(f"{self._name} goes on after its end: do not trust this archive")
