"""Timing of reads and writes of the operator file beside a gallery."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hmdrn_runtime.matching.index.operator_cache import (
    CachedOperators,
    SolvedOperators,
    read_operators,
    write_operators,
)
from hmdrn_runtime.matching.index.projection import Basis

MIN_SECONDS = 0.5
"""Seconds of solving from which on operators are worth writing."""


class OperatorCacheWriter:
    """Caches the operators of one matcher. Any thread may call `store`; the rest is not thread-safe.

    Attributes:
        cached: The file's operators, until the matcher's first operators are complete.
    """

    def __init__(self) -> None:
        self.cached: CachedOperators | None = None
        self._target: tuple[Path, str] | None = None
        self._basis: Basis | None = None
        self._seconds = 0.0

    def open(self, path: Path, origin: str, packed: int) -> None:
        """Open a file before the first solve; see `read_operators`."""
        self._target, self.cached = (path, origin), read_operators(path, origin, packed)
        self._basis = None if self.cached is None else self.cached.basis

    def finish_first(self, solved: Callable[[], SolvedOperators]) -> None:
        """Store the first operators since `open`; does nothing for later ones."""
        if self._target is not None:
            (path, origin), self._target, self.cached = self._target, None, None
            self.store(path, origin, solved())

    def store(self, path: Path, origin: str, solved: SolvedOperators) -> None:
        """Write operators if over half a second of solving is not in the file yet; ignores write errors."""
        # A new basis has taken many seconds to fit.
        if solved.keys and (self._seconds >= MIN_SECONDS or solved.basis not in (None, self._basis)):
            self._seconds, self._basis = 0.0, solved.basis
            with contextlib.suppress(OSError):
                write_operators(path, origin, solved)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds of the solves within the block."""
        start = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - start
