"""A Python without torch, onnx and what else a device does not have."""

from __future__ import annotations

import subprocess
import sys

NOT_ON_A_DEVICE = ("torch", "onnx", "onnxscript", "matplotlib", "scipy")


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code where importing any of NOT_ON_A_DEVICE fails, as on a machine with the base install."""
    blocked = f"import sys\nfor name in {NOT_ON_A_DEVICE!r}: sys.modules[name] = None\n"
    command = [sys.executable, "-c", blocked + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
