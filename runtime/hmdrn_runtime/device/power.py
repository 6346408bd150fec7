"""A Jetson's power: the mode that caps its clocks, and the rails that its INA3221 sensors measure."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_number, read_text

_STATUS = re.compile(r"\bpmode:(\d+)")
_MODEL = re.compile(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", re.MULTILINE)
_QUERY = re.compile(r"NV Power Mode:\s*(\S+)\s+(\d+)")
_TIMEOUT = 10
_MODULE_INPUT = ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN")


@dataclass(frozen=True)
class PowerMode:
    """What `nvpmodel` is set to.

    Attributes:
        id: Its number, as `nvpmodel -m` takes it.
        name: Its name, e.g. "MAXN" or "15W"; None if the board's table does not name it.
    """

    id: int
    name: str | None

    def __str__(self) -> str:
        """For people."""
        return f"{self.name} (mode {self.id})" if self.name else f"mode {self.id}"


def read_power_mode(root: Path = Path("/")) -> PowerMode | None:
    """The power mode, from what nvpmodel keeps: no rights are needed and no process is started.

    Args:
        root: Where the file system begins.

    Returns:
        None where there is no nvpmodel, or it was never set.
    """
    status = _STATUS.search(read_text(root / "var/lib/nvpmodel/status") or "")
    if status is None:
        return None
    number = int(status[1])
    names = {mode.id: mode.name for mode in read_power_modes(root)}
    return PowerMode(number, names.get(number))


def read_power_modes(root: Path = Path("/")) -> tuple[PowerMode, ...]:
    """All power modes that the board has; empty where there is no nvpmodel."""
    table = read_text(root / "etc/nvpmodel.conf") or ""
    return tuple(PowerMode(int(number), name) for number, name in _MODEL.findall(table))


def query_power_mode() -> PowerMode | None:
    """Ask `nvpmodel` itself, where its files are out of sight; None where there is none or it refuses."""
    program = shutil.which("nvpmodel")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "-q"], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_power_mode(done.stdout)


def parse_power_mode(query: str) -> PowerMode | None:
    """The power mode in what `nvpmodel -q` prints; None if there is none in it."""
    found = _QUERY.search(query)
    return PowerMode(int(found[2]), found[1]) if found else None


@dataclass(frozen=True)
class Rail:
    """One supply as measured.

    Attributes:
        name: The board's name for it, e.g. "VDD_IN", the whole module.
        watts: Power at this moment.
    """

    name: str
    watts: float


def read_rails(root: Path = Path("/")) -> tuple[Rail, ...]:
    """What a Jetson's rails draw now; empty where there are no INA3221 sensors.

    Args:
        root: Where the file system begins.
    """
    drivers = root / "sys/bus/i2c/drivers"
    chips = sorted((drivers / "ina3221").glob("*/hwmon/hwmon*"))
    older = sorted((drivers / "ina3221x").glob("*/iio:device*"))
    return tuple(
        rail
        for folders, read in ((chips, _hwmon), (older, _iio))
        for folder in folders
        for rail in read(folder)
    )


def module_input(rails: tuple[Rail, ...]) -> Rail | None:
    """The rail that feeds the whole module; None where the board does not measure it."""
    return next((rail for name in _MODULE_INPUT for rail in rails if rail.name == name), None)


def _hwmon(folder: Path) -> Iterator[Rail]:
    """JetPack 5 and later: millivolts and milliamperes of three channels; 4 to 7 are of the shunts."""
    for channel in (1, 2, 3):
        name = read_text(folder / f"in{channel}_label")
        millivolts = read_number(folder / f"in{channel}_input")
        milliamperes = read_number(folder / f"curr{channel}_input")
        # "NC": not connected.
        if name not in (None, "NC") and millivolts is not None and milliamperes is not None:
            yield Rail(str(name), millivolts * milliamperes / 1e6)


def _iio(folder: Path) -> Iterator[Rail]:
    """JetPack 4: milliwatts."""
    for channel in (0, 1, 2):
        name = read_text(folder / f"rail_name_{channel}")
        milliwatts = read_number(folder / f"in_power{channel}_input")
        if name is not None and milliwatts is not None:
            yield Rail(name, milliwatts / 1e3)
