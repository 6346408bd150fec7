"""The processor and its memory, from /proc/cpuinfo and /proc/meminfo."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_text

_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "amx_int8": "AMX-INT8",
    "neon": "NEON",
    "asimd": "NEON",
    "asimdhp": "FP16",
    "asimddp": "dotprod",
    "i8mm": "I8MM",
    "sve": "SVE",
}
"""Features that affect the graphs' speed, by the kernel's names for them."""
_ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse N1",
    "0xd42": "Cortex-A78AE",
    "0xd83": "Neoverse-V3AE",
    "0x003": "Denver 2",
    "0x004": "Carmel",
}
"""Cores of Jetsons, Raspberry Pis and servers, whose kernels report numbers instead of names."""


@dataclass(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        model: Its name; the architecture where the kernel reports no name.
        architecture: As the operating system calls it, e.g. "x86_64", "aarch64".
        cores: Cores that this process may use.
        features: Its features among "AVX2", "AVX-512", "AVX512-VNNI", "AVX-VNNI", "AMX-INT8", "NEON", "FP16",
            "dotprod", "I8MM", "SVE".
    """

    model: str
    architecture: str
    cores: int
    features: tuple[str, ...]


@dataclass(frozen=True)
class Memory:
    """Working memory in MiB.

    Attributes:
        total_mib: Memory of the machine.
        available_mib: Memory that programs can still use without swapping.
    """

    total_mib: int
    available_mib: int


def parse_cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Return the features in the text of /proc/cpuinfo, by the kernel's names."""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return frozenset(flags[1].split()) if flags else frozenset()


def parse_cpu(cpuinfo: str, architecture: str, cores: int) -> Cpu:
    """Describe the processor from the text of /proc/cpuinfo."""
    flags = parse_cpu_flags(cpuinfo)
    features = dict.fromkeys(name for flag, name in _FEATURES.items() if flag in flags)
    return Cpu(_find_model(cpuinfo) or architecture, architecture, cores, tuple(features))


def parse_memory(meminfo: str) -> Memory | None:
    """Return the memory from the text of /proc/meminfo; None if it is not reported."""
    sizes = {name: int(kib) // 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)}
    if "MemTotal" not in sizes or "MemAvailable" not in sizes:
        return None
    return Memory(sizes["MemTotal"], sizes["MemAvailable"])


def read_cpu(root: Path = Path("/")) -> Cpu:
    """Describe the processor of this machine, whose kernel's files are under `root`."""
    # A container or a service may have fewer cores than the machine.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return parse_cpu(read_text(root / "proc/cpuinfo") or "", platform.machine(), cores)


def read_memory(root: Path = Path("/")) -> Memory | None:
    """Read the memory of this machine, whose kernel's files are under `root`."""
    return parse_memory(read_text(root / "proc/meminfo") or "")


def _find_model(cpuinfo: str) -> str | None:
    name = re.search(r"^(?:model name|Model name|cpu model)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if name and not name[1].startswith("ARMv"):
        return name[1].strip()
    parts = dict.fromkeys(re.findall(r"^CPU part\s*:\s*(\w+)$", cpuinfo, re.MULTILINE))
    return " + ".join(_ARM_PARTS.get(part, f"Arm part {part}") for part in parts) or None
