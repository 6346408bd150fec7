"""Watching for other load: processor time of the whole system less that of this process and its children.

Only Linux reports it (/proc); elsewhere a benchmark says that it cannot know.
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
"""Cores that other processes may use."""
_BEFORE = 2.0
_WINDOW = 3.0
_PROC = Path("/proc")


class BusyError(HmdrnError):
    """Other processes use the processor, so a time measured now means nothing."""


@dataclass(frozen=True)
class ProcessorTime:
    """Processor time in seconds since the machine started.

    Attributes:
        at: Moment of the reading, on the monotonic clock.
        everything: By all processes; time that a hypervisor took away counts too.
        own: By this process and its descendants.
    """

    at: float
    everything: float
    own: float

    @classmethod
    def now(cls) -> ProcessorTime | None:
        """Read it; None where the system does not report it."""
        hertz = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        try:
            # user, nice, system, idle, iowait, irq, softirq, steal
            values = [int(v) for v in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
            own = _read_own_ticks()
        except (OSError, ValueError, IndexError):
            return None
        return cls(time.monotonic(), (sum(values) - values[3] - values[4]) / hertz, own / hertz)

    def others_since(self, earlier: ProcessorTime) -> float:
        """Return the cores that other processes used on average since an earlier reading, at least 0."""
        used = (self.everything - earlier.everything) - (self.own - earlier.own)
        return max(used / (self.at - earlier.at), 0.0)


@dataclass
class LoadMonitor:
    """Checks for other load before a benchmark and between its measurements.

    Attributes:
        allow_busy: Continue under other load; the results record it.
        before: Cores that other processes used before the benchmark; None if unknown.
        peak: Most cores that they used in any three seconds of it; None if unknown.
    """

    allow_busy: bool = False
    before: float | None = None
    peak: float | None = None
    _last: ProcessorTime | None = field(default=None, repr=False)

    def start(self) -> None:
        """Measure for two seconds while the benchmark is idle.

        Raises:
            BusyError: Other processes use the processor.
        """
        start = ProcessorTime.now()
        time.sleep(_BEFORE)
        self._last = ProcessorTime.now()
        if start is not None and self._last is not None:
            self.before = self._last.others_since(start)
            self._require_idle(self.before, "before the benchmark")

    def check(self) -> None:
        """Check the time since the last check, once three seconds have passed.

        Raises:
            BusyError: Other processes used the processor.
        """
        if self._last is None or time.monotonic() - self._last.at < _WINDOW:
            return
        now = ProcessorTime.now()
        if now is None:
            return
        used = now.others_since(self._last)
        self._last = now
        self.peak = max(self.peak or 0.0, used)
        self._require_idle(used, "meanwhile")

    @property
    def busy(self) -> bool | None:
        """True if other processes used the processor; None where the system does not report it."""
        readings = [used for used in (self.before, self.peak) if used is not None]
        return max(readings) > LIMIT if readings else None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "busy": self.busy,
            "allowed": self.allow_busy,
            "others_before": self.before,
            "others_peak": self.peak,
        }

    def _require_idle(self, used: float, when: str) -> None:
        if used > LIMIT and not self.allow_busy:
            raise BusyError(
                f"others used {used:.2f} cores {when}, over {LIMIT:g}: end what else runs and start again; "
                "--allow-busy runs it anyway, but its figures do not count"
            )


def _read_own_ticks() -> int:
    """Return the ticks of this process and its descendants, including those already waited for."""
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                # The second field, the name in brackets, may hold any character.
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            children[int(fields[1])].append(int(folder.name))
            ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    total, waiting = 0, [os.getpid()]
    while waiting:
        process = waiting.pop()
        total += ticks.get(process, 0)
        waiting += children[process]
    return total
