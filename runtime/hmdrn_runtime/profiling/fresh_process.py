"""Measuring in a new interpreter: start-up times and peak memory are a process's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hmdrn_runtime.errors import HmdrnError


def in_fresh_process(code: str, *arguments: str) -> Any:
    """Run Python code in a new process of this interpreter.

    Args:
        code: Prints one JSON value; `sys` is imported, `sys.argv[1:]` are the arguments.
        arguments: For the code.

    Returns:
        The value.

    Raises:
        HmdrnError: The process failed; the message has its last line.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise HmdrnError(f"a new process, started to measure it, failed: {last}")
    return json.loads(done.stdout)


def peak_mib() -> float | None:
    """The most memory that this process had at once so far, mapped pages included, in MiB.

    From /proc, for what `resource` tells of a process counts that of the one which started it too. None where
    neither is to be had.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)
