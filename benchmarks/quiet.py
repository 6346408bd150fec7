"""Whether anything else uses the processor: what all of it did, less what this process and its children did.

Linux alone tells (/proc); elsewhere a benchmark says that it cannot know.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hmdrn_runtime.errors import HmdrnError

LIMIT = 0.3
"""Cores that others may use."""
_BEFORE = 2.0
_WINDOW = 3.0
_PROC = Path("/proc")


class BusyError(HmdrnError):
    """Something else uses the processor, and a time measured beside it says nothing."""


@dataclass(frozen=True)
class Ticks:
    """Processor time since the machine started, in seconds: by all, and by this process and its children."""

    at: float
    everything: float
    own: float

    @classmethod
    def now(cls) -> Ticks | None:
        """As it is now; None where the system does not tell."""
        hertz = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        try:
            # user, nice, system, idle, iowait, irq, softirq, steal: what a hypervisor takes away counts too.
            values = [int(v) for v in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
            own = _own_ticks()
        except (OSError, ValueError, IndexError):
            return None
        return cls(time.monotonic(), (sum(values) - values[3] - values[4]) / hertz, own / hertz)

    def others_since(self, earlier: Ticks) -> float:
        """Cores that others have used on average since an earlier moment, at least 0."""
        used = (self.everything - earlier.everything) - (self.own - earlier.own)
        return max(used / (self.at - earlier.at), 0.0)


@dataclass
class Quiet:
    """Watches over a benchmark, before it and between its measurements.

    Attributes:
        allow_busy: Whether it goes on where others use the processor; the results say so.
        before: Cores that others used before it began; None if not known.
        peak: The most that they used in any three seconds meanwhile.
    """

    allow_busy: bool = False
    before: float | None = None
    peak: float | None = None
    _last: Ticks | None = field(default=None, repr=False)

    def begin(self) -> None:
        """Look on for two seconds while nothing runs.

        Raises:
            BusyError: Others use the processor.
        """
        start = Ticks.now()
        time.sleep(_BEFORE)
        self._last = Ticks.now()
        if start is not None and self._last is not None:
            self.before = self._last.others_since(start)
            self._check(self.before, "before the benchmark")

    def look(self) -> None:
        """Between measurements: check the last three seconds, if as many have passed since the last check.

        Raises:
            BusyError: Others used the processor.
        """
        if self._last is None or time.monotonic() - self._last.at < _WINDOW:
            return
        now = Ticks.now()
        if now is None:
            return
        used = now.others_since(self._last)
        self._last = now
        self.peak = max(self.peak or 0.0, used)
        self._check(used, "meanwhile")

    @property
    def busy(self) -> bool | None:
        """Whether others were seen to use the processor; None where the system does not tell."""
        seen = [used for used in (self.before, self.peak) if used is not None]
        return max(seen) > LIMIT if seen else None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "busy": self.busy,
            "allowed": self.allow_busy,
            "others_before": self.before,
            "others_peak": self.peak,
        }

    def _check(self, used: float, when: str) -> None:
        if used > LIMIT and not self.allow_busy:
            raise BusyError(
                f"others used {used:.2f} cores {when}, over {LIMIT:g}: end what else runs and start again; "
                "--allow-busy tries it out all the same, and no figure of that counts"
            )


def _own_ticks() -> int:
    """Processor time of this process and its descendants, those that were waited for included."""
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                # The second field, the name in brackets, may hold anything.
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            children[int(fields[1])].append(int(folder.name))
            ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    family, waiting = 0, [os.getpid()]
    while waiting:
        process = waiting.pop()
        family += ticks.get(process, 0)
        waiting += children[process]
    return family
