"""What the machine was like while something was measured."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hmdrn_runtime.device.cpu import Cpu, read_cpu
from hmdrn_runtime.device.nvidia import GpuState, read_gpu_state
from hmdrn_runtime.device.power import module_input, read_rails
from hmdrn_runtime.device.state import DeviceState, read_state

_EVERY = 0.2


@dataclass(frozen=True)
class Conditions:
    """The machine before and after a measurement.

    Attributes:
        cpu: Its processor.
        before: Power mode, clocks, temperatures and rails before.
        after: The same after.
        load: Load average over a minute before; None where the system has none.
        watts: Mean power of a Jetson's module meanwhile; None elsewhere.
        gpu_before: An NVIDIA GPU that is no Jetson's before; None without.
        gpu_after: The same after.
    """

    cpu: Cpu
    before: DeviceState
    after: DeviceState
    load: float | None
    watts: float | None
    gpu_before: GpuState | None = None
    gpu_after: GpuState | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


@dataclass
class Watch:
    """Looks at the machine from now on."""

    cpu: Cpu = field(default_factory=read_cpu)
    before: DeviceState = field(default_factory=read_state)
    load: float | None = field(default_factory=lambda: load_average())
    gpu: GpuState | None = field(default_factory=read_gpu_state)
    _watts: list[float] = field(default_factory=list)
    _told: int = 0
    _next: float = 0.0

    def look(self) -> None:
        """Read the power drawn, if it was not read a moment ago; between measurements, within none."""
        if not self.before.rails or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        rail = module_input(read_rails())
        if rail is not None:
            self._watts.append(rail.watts)

    def watts(self) -> float | None:
        """Mean power since this was last asked; None where none was read."""
        recent = self._watts[self._told :]
        self._told = len(self._watts)
        return float(np.mean(recent)) if recent else None

    def conditions(self) -> Conditions:
        """What was seen up to now."""
        watts = float(np.mean(self._watts)) if self._watts else None
        after = None if self.gpu is None else read_gpu_state()
        return Conditions(self.cpu, self.before, read_state(), self.load, watts, self.gpu, after)


def load_average() -> float | None:
    """Load over the last minute; None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
