"""What a measurement depends on besides the program: power mode, clocks, temperatures, power drawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hmdrn_runtime.device.clocks import Clock, read_clocks
from hmdrn_runtime.device.power import PowerMode, Rail, read_power_mode, read_rails
from hmdrn_runtime.device.thermal import read_temperatures


@dataclass(frozen=True)
class DeviceState:
    """The device at one moment.

    Attributes:
        power_mode: Of a Jetson; None elsewhere.
        clocks: Of CPU and Jetson GPU; empty where the kernel does not tell.
        temperatures: Degrees Celsius by sensor.
        rails: What a Jetson's supplies draw.
    """

    power_mode: PowerMode | None
    clocks: tuple[Clock, ...]
    temperatures: dict[str, float]
    rails: tuple[Rail, ...]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


def read_state(root: Path = Path("/")) -> DeviceState:
    """Read the state; a few milliseconds, no rights needed.

    Args:
        root: Where the file system begins.
    """
    return DeviceState(read_power_mode(root), read_clocks(root), read_temperatures(root), read_rails(root))
