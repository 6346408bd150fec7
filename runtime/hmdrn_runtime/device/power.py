"""A Jetson's power: the mode that limits its clocks, and the rails that its INA3221 sensors measure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_number, read_text, run_tool

_STATUS = re.compile(r"\bpmode:(\d+)")
_MODEL = re.compile(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", re.MULTILINE)
_QUERY = re.compile(r"NV Power Mode:\s*(\S+)\s+(\d+)")
_MODULE_INPUT = ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN")


@dataclass(frozen=True)
class PowerMode:
    """The setting of `nvpmodel`.

    Attributes:
        id: Its number, as `nvpmodel -m` takes it.
        name: Its name, e.g. "MAXN" or "15W"; None if the board's table does not name it.
    """

    id: int
    name: str | None

    def __str__(self) -> str:
        """Return the name and number."""
        return f"{self.name} (mode {self.id})" if self.name else f"mode {self.id}"


def read_power_mode(root: Path = Path("/")) -> PowerMode | None:
    """Read the power mode from nvpmodel's files under `root`, without any rights; None if never set."""
    status = _STATUS.search(read_text(root / "var/lib/nvpmodel/status") or "")
    if status is None:
        return None
    names = {mode.id: mode.name for mode in read_power_modes(root)}
    return PowerMode(int(status[1]), names.get(int(status[1])))


def read_power_modes(root: Path = Path("/")) -> tuple[PowerMode, ...]:
    """Return all power modes of the board; empty without nvpmodel."""
    table = read_text(root / "etc/nvpmodel.conf") or ""
    return tuple(PowerMode(int(number), name) for number, name in _MODEL.findall(table))


def query_power_mode() -> PowerMode | None:
    """Run `nvpmodel -q`, for where its files cannot be read; None where it is missing or refuses."""
    return parse_power_mode(run_tool("nvpmodel", "-q") or "")


def parse_power_mode(query: str) -> PowerMode | None:
    """Return the power mode that `nvpmodel -q` printed; None if not found."""
    match = _QUERY.search(query)
    return PowerMode(int(match[2]), match[1]) if match else None


@dataclass(frozen=True)
class Rail:
    """One power rail as measured.

    Attributes:
        name: The board's name for it, e.g. "VDD_IN", the whole module.
        watts: Its power at this moment.
    """

    name: str
    watts: float


def read_rails(root: Path = Path("/")) -> tuple[Rail, ...]:
    """Measure the rails of a Jetson, in the file system under `root`; empty without INA3221 sensors."""
    drivers = root / "sys/bus/i2c/drivers"
    sensors = sorted((drivers / "ina3221").glob("*/hwmon/hwmon*"))
    older_sensors = sorted((drivers / "ina3221x").glob("*/iio:device*"))
    return (
        *(rail for folder in sensors for rail in _read_hwmon(folder)),
        *(rail for folder in older_sensors for rail in _read_iio(folder)),
    )


def find_module_input(rails: tuple[Rail, ...]) -> Rail | None:
    """Return the rail that feeds the whole module; None where the board does not measure it."""
    return next((rail for name in _MODULE_INPUT for rail in rails if rail.name == name), None)


def _read_hwmon(folder: Path) -> Iterator[Rail]:
    """JetPack 5 and later: millivolts and milliamperes of channels 1 to 3; 4 to 7 belong to the shunts."""
    for channel in (1, 2, 3):
        name = read_text(folder / f"in{channel}_label")
        millivolts = read_number(folder / f"in{channel}_input")
        milliamperes = read_number(folder / f"curr{channel}_input")
        # "NC": not connected.
        if name not in (None, "NC") and millivolts is not None and milliamperes is not None:
            yield Rail(str(name), millivolts * milliamperes / 1e6)


def _read_iio(folder: Path) -> Iterator[Rail]:
    """JetPack 4: milliwatts."""
    for channel in (0, 1, 2):
        name = read_text(folder / f"rail_name_{channel}")
        milliwatts = read_number(folder / f"in_power{channel}_input")
        if name is not None and milliwatts is not None:
            yield Rail(name, milliwatts / 1e3)
