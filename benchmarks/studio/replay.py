"""The command line with a camera that costs nothing: every source is a file of frames, held in memory.

    python -m benchmarks.studio.replay studio --source frames.npy ...

Decoding a film would take a core of its own, and what viewers cost would be lost beside it.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hmdrn._entry_points import main
from hmdrn.watching import reader_thread
from hmdrn.watching.sources import Source


class ReplayCapture:
    """Frames of a file of NumPy's, BGR uint8 (N, H, W, 3), again and again.

    Attributes:
        rate: Frames a second, more than can be named.
        frames: 0, since it never ends.
    """

    rate: float = 200.0
    frames: int = 0

    def __init__(self, path: Path) -> None:
        self._frames = itertools.cycle(np.load(path))

    def read(self) -> npt.NDArray[np.uint8]:
        """Return the next frame."""
        frame: npt.NDArray[np.uint8] = next(self._frames)
        return frame

    def close(self) -> None:
        """Do nothing."""


def open_replay(source: Source, stall_after: float, is_closed: Callable[[], bool]) -> ReplayCapture:
    """Open a source, in place of `captures.open_capture`."""
    return ReplayCapture(Path(str(source.target)))


if __name__ == "__main__":
    setattr(reader_thread, "open_capture", open_replay)  # noqa: B010 - a name that it imports
    sys.exit(main())
