"""Temperatures: the kernel's thermal zones, else the sensors of hwmon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_number, read_text

_PLAUSIBLE = (-40.0, 150.0)
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


def read_temperatures(root: Path = Path("/")) -> dict[str, float]:
    """Temperatures in degrees Celsius by the sensor's name; empty where the machine has none to show.

    Zones that are switched off, which fail to be read or show impossible values, are left out.

    Args:
        root: Where the file system begins.
    """
    found: dict[str, float] = {}
    for name, value in list(_zones(root)) or list(_cpu_sensors(root)):
        if _PLAUSIBLE[0] < value < _PLAUSIBLE[1]:
            found[name] = max(value, found.get(name, value))  # sockets share a name
    return found


def hottest(temperatures: dict[str, float]) -> tuple[str, float] | None:
    """The hottest sensor and what it shows; None without any."""
    return max(temperatures.items(), key=lambda item: item[1]) if temperatures else None


def _zones(root: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = read_text(zone / "type"), read_number(zone / "temp")
        if name is not None and value is not None:
            yield name, value / 1000


def _cpu_sensors(root: Path) -> Iterator[tuple[str, float]]:
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = read_text(chip / "name")
        if name not in _CPU_SENSORS:
            continue
        for sensor in sorted(chip.glob("temp*_input")):
            value = read_number(sensor)
            label = read_text(sensor.with_name(sensor.name.replace("_input", "_label")))
            if value is not None:
                yield f"{name} {label or sensor.name.removesuffix('_input')}", value / 1000
