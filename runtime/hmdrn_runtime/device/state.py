"""The state of the device that a measurement depends on: power mode, clocks, temperatures, power drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.clocks import Clock, read_clocks
from hmdrn_runtime.device.power import PowerMode, Rail, read_power_mode, read_rails
from hmdrn_runtime.device.thermal import read_temperatures


@dataclass(frozen=True)
class DeviceState:
    """The device at one moment.

    Attributes:
        power_mode: Power mode of a Jetson; None elsewhere.
        clocks: Clocks of the CPU and of a Jetson's GPU; empty where the kernel does not report any.
        temperatures: Degrees Celsius by sensor.
        rails: Power drawn from a Jetson's rails.
    """

    power_mode: PowerMode | None
    clocks: tuple[Clock, ...]
    temperatures: dict[str, float]
    rails: tuple[Rail, ...]


def read_state(root: Path = Path("/")) -> DeviceState:
    """Read the state in the file system under `root`; takes a few milliseconds, needs no rights."""
    return DeviceState(read_power_mode(root), read_clocks(root), read_temperatures(root), read_rails(root))
