"""Runs probes, each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

_TIMEOUT = 120
_POLL = 0.2
_COMPLAINT = re.compile(r"cannot open|error|fail|not found|could not", re.IGNORECASE)
_MAX_LENGTH = 300


def run_probe(
    *arguments: str,
    timeout: float = _TIMEOUT,
    module: str = "hmdrn.doctor.probes",
    environment: Mapping[str, str] | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run a probe of a module, by default those of `hmdrn doctor`.

    Args:
        arguments: Name of the probe, and its arguments.
        timeout: Seconds after which its process is ended.
        module: The module of the probe.
        environment: Variables of its process beside those of this one.
        is_cancelled: Asked several times a second whether to end it.

    Returns:
        Its answer; {"error": reason} if it raised, crashed or did not end. "complaint" is the last line of
        its standard error that reads like one, if there is such a line.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        ) as process:
            try:
                output, errors = _communicate(process, timeout, is_cancelled)
            except BaseException:
                process.kill()
                raise
    except subprocess.TimeoutExpired:
        return {"error": "it was cancelled" if is_cancelled() else f"it did not answer within {timeout:g} s"}
    except OSError as error:
        return {"error": f"no process could be started ({error.strerror})"}
    complaint = _find_complaint(errors)
    try:
        answer = json.loads(output.strip().splitlines()[-1])
        if process.returncode == 0 and isinstance(answer, dict):
            return {**answer, "complaint": complaint} if complaint else answer
    except (ValueError, IndexError):
        pass
    end = _describe_end(process.returncode)
    return {"error": f"its process {end}" + (f" ({complaint})" if complaint else "")}


def _communicate(
    process: subprocess.Popen[str], timeout: float, is_cancelled: Callable[[], bool]
) -> tuple[str, str]:
    """Return what a process prints until its end; raises TimeoutExpired if it is late or cancelled."""
    end = time.monotonic() + timeout
    while True:
        try:
            return process.communicate(timeout=max(0.0, min(_POLL, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            if is_cancelled() or time.monotonic() >= end:
                raise


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _find_complaint(stderr: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stderr)
    lines = [" ".join(line.split()) for line in plain.splitlines() if _COMPLAINT.search(line)]
    return lines[-1][-_MAX_LENGTH:] if lines else ""
