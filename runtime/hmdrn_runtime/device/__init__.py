"""What a device is and how it is doing, read from the kernel's files; `root` lets tests record a tree."""

from hmdrn_runtime.device.clocks import Clock, read_clocks
from hmdrn_runtime.device.cpu import Cpu, Memory, read_cpu, read_memory
from hmdrn_runtime.device.jetson import Jetson, read_jetson
from hmdrn_runtime.device.power import (
    PowerMode,
    Rail,
    module_input,
    parse_power_mode,
    query_power_mode,
    read_power_mode,
    read_power_modes,
    read_rails,
)
from hmdrn_runtime.device.state import DeviceState, read_state
from hmdrn_runtime.device.thermal import hottest, read_temperatures

__all__ = [
    "Clock",
    "Cpu",
    "DeviceState",
    "Jetson",
    "Memory",
    "PowerMode",
    "Rail",
    "hottest",
    "module_input",
    "parse_power_mode",
    "query_power_mode",
    "read_clocks",
    "read_cpu",
    "read_jetson",
    "read_memory",
    "read_power_mode",
    "read_power_modes",
    "read_rails",
    "read_state",
    "read_temperatures",
]
