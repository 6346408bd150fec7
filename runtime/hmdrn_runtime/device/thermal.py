"""Temperatures from the kernel's thermal zones, or else from the CPU's hwmon sensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_number, read_text

_MIN_CELSIUS, _MAX_CELSIUS = -40.0, 150.0
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


def read_temperatures(root: Path = Path("/")) -> dict[str, float]:
    """Return temperatures in degrees Celsius by sensor, in the file system under `root`.

    Zones that are switched off, cannot be read or show impossible values are left out.
    """
    temperatures: dict[str, float] = {}
    for name, value in list(_read_zones(root)) or list(_read_cpu_sensors(root)):
        if _MIN_CELSIUS < value < _MAX_CELSIUS:
            temperatures[name] = max(value, temperatures.get(name, value))  # CPU sockets share a name
    return temperatures


def find_hottest(temperatures: dict[str, float]) -> tuple[str, float] | None:
    """Return the hottest sensor and its temperature; None without any."""
    return max(temperatures.items(), key=lambda item: item[1]) if temperatures else None


def _read_zones(root: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = read_text(zone / "type"), read_number(zone / "temp")
        if name is not None and value is not None:
            yield name, value / 1000


def _read_cpu_sensors(root: Path) -> Iterator[tuple[str, float]]:
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = read_text(chip / "name")
        if name not in _CPU_SENSORS:
            continue
        for sensor in sorted(chip.glob("temp*_input")):
            value = read_number(sensor)
            label = read_text(sensor.with_name(sensor.name.replace("_input", "_label")))
            if value is not None:
                yield f"{name} {label or sensor.name.removesuffix('_input')}", value / 1000
