"""Trials in a process of their own, and what came of them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

_TIMEOUT = 120
_COMPLAINT = re.compile(r"cannot open|error|fail|not found|could not", re.IGNORECASE)
_MOST = 300


def attempt(*arguments: str, timeout: float = _TIMEOUT) -> dict[str, Any]:
    """Run a trial of `child`.

    Returns:
        What it answers; {"error": reason} where it raised, crashed or did not end. "complaint" is what its
        libraries wrote on standard error, in one line, where they did.
    """
    command = [sys.executable, "-m", "hmdrn.doctor.probes", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"it did not answer within {timeout:g} s"}
    except OSError as error:
        return {"error": f"no process could be started ({error.strerror})"}
    complaint = _complaint(done.stderr)
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        if done.returncode == 0 and isinstance(answer, dict):
            return {**answer, "complaint": complaint} if complaint else answer
    except (ValueError, IndexError):
        pass
    return {"error": f"its process {_end(done.returncode)}" + (f" ({complaint})" if complaint else "")}


def _end(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _complaint(stderr: str) -> str:
    """The last line that sounds like one."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stderr)
    lines = [" ".join(line.split()) for line in plain.splitlines() if _COMPLAINT.search(line)]
    return lines[-1][-_MOST:] if lines else ""
