"""Measurements in a new interpreter, because start-up times and peak memory belong to a whole process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from hmdrn_runtime.device.sysfs import read_text
from hmdrn_runtime.errors import HmdrnError


def run_in_fresh_process(code: str, *arguments: str) -> Any:
    """Run Python code in a new process of this interpreter, and return the JSON value that it prints.

    Args:
        code: Prints one JSON value; `sys` is imported, `sys.argv[1:]` are the arguments.
        arguments: Arguments of the code.

    Raises:
        HmdrnError: The process failed; the message has its last line.
    """
    command = [sys.executable, "-c", f"import sys\n{code}", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        last_line = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise HmdrnError(f"a new process, started to measure it, failed: {last_line}")
    return json.loads(process.stdout)


def read_peak_mib() -> float | None:
    """Return the peak memory of this process so far, mapped pages included, in MiB; None if unknown.

    Read from /proc where possible, because `resource` also counts the memory of the parent process.
    """
    peak = re.search(r"^VmHWM:\s+(\d+) kB", read_text(Path("/proc/self/status")) or "", re.MULTILINE)
    if peak:
        return int(peak[1]) / 1024
    try:
        import resource
    except ImportError:
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1 << 20 if sys.platform == "darwin" else 1 << 10)
