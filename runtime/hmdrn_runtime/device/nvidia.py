"""What NVIDIA's own tools and files tell: the CUDA toolkit, and how a GPU that is no Jetson's is doing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.device.sysfs import read_text

_QUERY = ("temperature.gpu", "clocks.sm", "clocks.max.sm", "power.draw", "memory.total", "memory.free")
_TIMEOUT = 10


@dataclass(frozen=True)
class GpuState:
    """The first GPU as `nvidia-smi` sees it; what it does not tell is None.

    Attributes:
        celsius: Temperature.
        mhz: Clock of its processors now, MHz.
        max_mhz: The highest that they can have.
        watts: Power drawn.
        total_mib: Its memory.
        free_mib: What of it is free.
    """

    celsius: float | None
    mhz: float | None
    max_mhz: float | None
    watts: float | None
    total_mib: float | None
    free_mib: float | None


def parse_gpu_state(text: str) -> GpuState | None:
    """The first line of `nvidia-smi --query-gpu=... --format=csv,noheader,nounits`; None if it is none."""
    fields = text.strip().splitlines()[0].split(",") if text.strip() else []
    if len(fields) != len(_QUERY):
        return None
    return GpuState(*map(_number, fields))


def read_gpu_state() -> GpuState | None:
    """Ask `nvidia-smi`; None where there is none, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_gpu_state(done.stdout) if done.returncode == 0 else None


def read_cuda_toolkit(root: Path = Path("/")) -> str | None:
    """Version of the CUDA toolkit, e.g. "12.6.68"; None if there is none where it usually is."""
    text = read_text(root / "usr/local/cuda/version.json")
    if text is not None:
        try:
            return str(json.loads(text)["cuda"]["version"])
        except (ValueError, KeyError, TypeError):
            return None
    older = re.search(r"CUDA Version ([\d.]+)", read_text(root / "usr/local/cuda/version.txt") or "")
    return older[1] if older else None


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:  # [N/A], [Not Supported]
        return None
