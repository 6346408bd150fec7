"""The processor and its memory: /proc/cpuinfo and /proc/meminfo."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_text

_SPEAKING = {
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
"""What makes the graphs quicker or slower, by the kernel's names for it."""
_ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd42": "Cortex-A78AE",
    "0xd83": "Neoverse-V3AE",
    "0x003": "Denver 2",
    "0x004": "Carmel",
}
"""Cores of Jetsons and Raspberry Pis, which do not tell their names."""


@dataclass(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        model: Its name; the architecture where it does not tell one.
        architecture: As the operating system calls it, e.g. "x86_64", "aarch64".
        cores: Cores that this process may use.
        features: Of "AVX2", "AVX-512", "AVX512-VNNI", "AVX-VNNI", "AMX-INT8", "NEON", "FP16", "dotprod",
            "I8MM", "SVE" those that it has.
    """

    model: str
    architecture: str
    cores: int
    features: tuple[str, ...]


@dataclass(frozen=True)
class Memory:
    """Working memory in MiB.

    Attributes:
        total_mib: What the machine has.
        available_mib: What programs could still take without swapping.
    """

    total_mib: int
    available_mib: int


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The features that the kernel lists for the processor, in its own names."""
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return frozenset(flag for line in lines[:1] for flag in line.split())


def parse_cpu(cpuinfo: str, architecture: str, cores: int) -> Cpu:
    """The processor, from the text of /proc/cpuinfo."""
    flags = cpu_flags(cpuinfo)
    features = dict.fromkeys(name for flag, name in _SPEAKING.items() if flag in flags)
    return Cpu(_model(cpuinfo) or architecture, architecture, cores, tuple(features))


def parse_memory(meminfo: str) -> Memory | None:
    """Memory, from the text of /proc/meminfo; None if it does not tell."""
    sizes = {name: int(kib) // 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)}
    if "MemTotal" not in sizes or "MemAvailable" not in sizes:
        return None
    return Memory(sizes["MemTotal"], sizes["MemAvailable"])


def read_cpu(root: Path = Path("/")) -> Cpu:
    """The processor of this machine; the kernel's files are read under `root`."""
    return parse_cpu(read_text(root / "proc/cpuinfo") or "", platform.machine(), _cores())


def read_memory(root: Path = Path("/")) -> Memory | None:
    """The memory of this machine; the kernel's files are read under `root`."""
    return parse_memory(read_text(root / "proc/meminfo") or "")


def _cores() -> int:
    # A container or a service may be given fewer than there are.
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _model(cpuinfo: str) -> str | None:
    named = re.search(r"^(?:model name|Model name|cpu model)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if named and not named[1].startswith("ARMv"):
        return named[1].strip()
    parts = dict.fromkeys(re.findall(r"^CPU part\s*:\s*(\w+)$", cpuinfo, re.MULTILINE))
    return " + ".join(_ARM_PARTS.get(part, f"Arm part {part}") for part in parts) or None
