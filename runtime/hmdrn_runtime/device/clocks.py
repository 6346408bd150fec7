"""Clocks of the processors and their governors: cpufreq and devfreq in sysfs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_number, read_text

_JETSON_GPU = re.compile(r"(^|[.])(gpu|gm20b|gp10b|gv11b|ga10b|gb10b)\b")


@dataclass(frozen=True)
class Clock:
    """The clock of some cores, or of a GPU; all but the name is None where the machine does not report it.

    Attributes:
        name: "cpu 0-3" for cores that share a clock, "gpu" for a Jetson's GPU.
        mhz: Its current frequency, MHz.
        min_mhz: The lowest frequency that the governor may choose.
        max_mhz: The highest frequency that the governor may choose, which a power mode limits.
        governor: The name of the governor, e.g. "schedutil".
    """

    name: str
    mhz: float | None
    min_mhz: float | None
    max_mhz: float | None
    governor: str | None

    @property
    def locked(self) -> bool:
        """True if the frequency is fixed, as after `jetson_clocks`: timings are then comparable."""
        return self.max_mhz is not None and self.min_mhz == self.max_mhz


def read_clocks(root: Path = Path("/")) -> tuple[Clock, ...]:
    """Read the clocks of the CPU's cores, then of a Jetson's GPU, in the file system under `root`."""
    policies = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"), key=_read_suffix)
    gpus = [p for p in sorted((root / "sys/class/devfreq").glob("*")) if _JETSON_GPU.search(p.name)]
    return (
        *(_read_clock(_name_cores(folder), folder, "scaling_", 1e-3) for folder in policies),
        *(_read_clock("gpu", folder, "", 1e-6) for folder in gpus[:1]),
    )


def _read_clock(name: str, folder: Path, prefix: str, unit: float) -> Clock:
    """Read a clock whose files have this prefix and are in this unit of MHz."""
    numbers = (read_number(folder / f"{prefix}{key}_freq") for key in ("cur", "min", "max"))
    mhz, min_mhz, max_mhz = (None if number is None else round(number * unit, 3) for number in numbers)
    return Clock(name, mhz, min_mhz, max_mhz, read_text(folder / f"{prefix}governor"))


def _name_cores(folder: Path) -> str:
    """Return e.g. "cpu 0-2, 5" for the cores 0, 1, 2 and 5."""
    text = read_text(folder / "affected_cpus") or str(_read_suffix(folder))
    runs: list[list[int]] = []
    for core in sorted(int(core) for core in text.split() if core.isdigit()):
        if runs and core == runs[-1][1] + 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return "cpu " + ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _read_suffix(folder: Path) -> int:
    return int(re.sub(r"\D", "", folder.name) or 0)
