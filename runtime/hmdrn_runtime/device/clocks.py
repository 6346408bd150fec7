"""How fast the processors are clocked, and by whose decision: cpufreq and devfreq in sysfs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_number, read_text, scaled

_JETSON_GPU = re.compile(r"(^|[.])(gpu|gm20b|gp10b|gv11b|ga10b|gb10b)\b")


@dataclass(frozen=True)
class Clock:
    """The clock of some cores, or of a GPU.

    Attributes:
        name: "cpu 0-3" for cores that are clocked together, "gpu" for that of a Jetson.
        mhz: Its frequency now, MHz.
        min_mhz: The lowest that the governor may choose.
        max_mhz: The highest that the governor may choose: what a power mode caps.
        governor: Who chooses, e.g. "schedutil".

    Each but the name is None where the machine does not tell.
    """

    name: str
    mhz: float | None
    min_mhz: float | None
    max_mhz: float | None
    governor: str | None

    @property
    def locked(self) -> bool:
        """Whether there is nothing to choose, as after `jetson_clocks`: timings are then comparable."""
        return self.max_mhz is not None and self.min_mhz == self.max_mhz


def read_clocks(root: Path = Path("/")) -> tuple[Clock, ...]:
    """The clocks of the CPU's cores, then that of a Jetson's GPU; empty where the kernel does not tell.

    Args:
        root: Where the file system begins.
    """
    policies = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"), key=_number)
    gpus = [p for p in sorted((root / "sys/class/devfreq").glob("*")) if _JETSON_GPU.search(p.name)]
    return (*map(_policy, policies), *map(_gpu, gpus[:1]))


def _policy(folder: Path) -> Clock:
    cores = read_text(folder / "affected_cpus") or str(_number(folder))
    return Clock(
        f"cpu {_ranges([int(core) for core in cores.split() if core.isdigit()])}",
        scaled(read_number(folder / "scaling_cur_freq"), 1e-3),
        scaled(read_number(folder / "scaling_min_freq"), 1e-3),
        scaled(read_number(folder / "scaling_max_freq"), 1e-3),
        read_text(folder / "scaling_governor"),
    )


def _gpu(folder: Path) -> Clock:
    return Clock(
        "gpu",
        scaled(read_number(folder / "cur_freq"), 1e-6),
        scaled(read_number(folder / "min_freq"), 1e-6),
        scaled(read_number(folder / "max_freq"), 1e-6),
        read_text(folder / "governor"),
    )


def _number(folder: Path) -> int:
    digits = re.search(r"\d+$", folder.name)
    return int(digits[0]) if digits else 0


def _ranges(cores: list[int]) -> str:
    """[0, 1, 2, 5] to "0-2, 5"."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][1] + 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
