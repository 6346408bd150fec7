"""State of the machine during a measurement."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from hmdrn_runtime.device.cpu import Cpu, read_cpu
from hmdrn_runtime.device.nvidia import GpuState, read_gpu_state
from hmdrn_runtime.device.power import find_module_input, read_rails
from hmdrn_runtime.device.state import DeviceState, read_state

_SAMPLING_PERIOD = 0.2


@dataclass(frozen=True)
class Conditions:
    """The machine before and after a measurement.

    Attributes:
        cpu: Its processor.
        before: Power mode, clocks, temperatures and rails before.
        after: The same after.
        load: Load average over the minute before; None where the system has none.
        watts: Mean power of a Jetson's module meanwhile; None elsewhere.
        gpu_before: An NVIDIA GPU other than a Jetson's before; None without one.
        gpu_after: The same after.
    """

    cpu: Cpu
    before: DeviceState
    after: DeviceState
    load: float | None
    watts: float | None
    gpu_before: GpuState | None = None
    gpu_after: GpuState | None = None


class ConditionsMonitor:
    """Observes the machine from its creation on."""

    def __init__(self) -> None:
        self._cpu, self._before = read_cpu(), read_state()
        self._load, self._gpu = read_load_average(), read_gpu_state()
        self._watts: list[float] = []
        self._reported = 0
        self._next_sample = 0.0

    def sample_power(self) -> None:
        """Read the power drawn, at most every 0.2 s; to be called between measurements."""
        if not self._before.rails or time.monotonic() < self._next_sample:
            return
        self._next_sample = time.monotonic() + _SAMPLING_PERIOD
        rail = find_module_input(read_rails())
        if rail is not None:
            self._watts.append(rail.watts)

    def take_mean_watts(self) -> float | None:
        """Return the mean power since the last call of this method; None without samples."""
        recent = self._watts[self._reported :]
        self._reported = len(self._watts)
        return float(np.mean(recent)) if recent else None

    def summarize(self) -> Conditions:
        """Return the conditions up to now."""
        watts = float(np.mean(self._watts)) if self._watts else None
        gpu_after = None if self._gpu is None else read_gpu_state()
        return Conditions(self._cpu, self._before, read_state(), self._load, watts, self._gpu, gpu_after)


def read_load_average() -> float | None:
    """Return the load over the last minute; None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
