"""The CUDA toolkit, and the state of an NVIDIA GPU other than a Jetson's."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_text, run_tool

_QUERY = ("temperature.gpu", "clocks.sm", "clocks.max.sm", "power.draw", "memory.total", "memory.free")


@dataclass(frozen=True)
class GpuState:
    """The first GPU as `nvidia-smi` reports it; a value that it does not report is None.

    Attributes:
        celsius: Temperature.
        mhz: Current clock of its processors, MHz.
        max_mhz: Highest possible clock, MHz.
        watts: Power drawn.
        total_mib: Its memory.
        free_mib: Its free memory.
    """

    celsius: float | None
    mhz: float | None
    max_mhz: float | None
    watts: float | None
    total_mib: float | None
    free_mib: float | None


def parse_gpu_state(text: str) -> GpuState | None:
    """Parse the first line of `nvidia-smi --query-gpu=... --format=csv,noheader,nounits`; None if invalid."""
    fields = text.strip().splitlines()[0].split(",") if text.strip() else []
    return GpuState(*map(_parse_number, fields)) if len(fields) == len(_QUERY) else None


def read_gpu_state() -> GpuState | None:
    """Query `nvidia-smi`; None where it is missing or does not answer."""
    return parse_gpu_state(
        run_tool("nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits") or ""
    )


def read_cuda_toolkit(root: Path = Path("/")) -> str | None:
    """Return the version of the CUDA toolkit in its usual place, e.g. "12.6.68"; None if there is none."""
    text = read_text(root / "usr/local/cuda/version.json")
    if text is not None:
        try:
            return str(json.loads(text)["cuda"]["version"])
        except (ValueError, KeyError, TypeError):
            return None
    older = re.search(r"CUDA Version ([\d.]+)", read_text(root / "usr/local/cuda/version.txt") or "")
    return older[1] if older else None


def _parse_number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:  # [N/A], [Not Supported]
        return None
