"""When operators are read from the file beside a gallery, and when they are written to it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hmdrn_runtime.matching.index.operator_cache import Kept, Solved, open_operators, write_operators
from hmdrn_runtime.matching.index.projection import Basis

SLOW = 0.5
"""Seconds of solving from which on operators are worth a file."""


class Keeper:
    """Keeps the operators of one matcher. `store` may be called by any thread, the rest by one at a time.

    Attributes:
        kept: What the file has, until the first operators were made of it.
    """

    def __init__(self) -> None:
        self.kept: Kept | None = None
        self._begun: tuple[Path, str] | None = None
        self._basis: Basis | None = None
        self._seconds = 0.0

    def begin(self, path: Path, origin: str, packed: int) -> None:
        """Open a file before the first operators are made; see `open_operators`."""
        self._begun, self.kept = (path, origin), open_operators(path, origin, packed)
        self._basis = None if self.kept is None else self.kept.basis

    def made(self, solved: Callable[[], Solved]) -> None:
        """Operators were made; if they are the first since `begin`, store them."""
        if self._begun is not None:
            (path, origin), self._begun, self.kept = self._begun, None, None
            self.store(path, origin, solved())

    def store(self, path: Path, origin: str, solved: Solved) -> None:
        """Write operators, if over half a second of work is in no file yet.

        Where they cannot be written, all works without; a start then takes as long as the first.
        """
        # A basis takes many seconds to fit.
        if not solved.keys:
            return
        if self._seconds >= SLOW or solved.basis not in (None, self._basis):
            self._seconds, self._basis = 0.0, solved.basis
            with contextlib.suppress(OSError):
                write_operators(path, origin, solved)

    @contextlib.contextmanager
    def solving(self) -> Iterator[None]:
        """Counts the time that the solves within take."""
        start = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - start
