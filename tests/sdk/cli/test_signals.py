"""How a process ends after a command."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("thread", "atexit_runs"), [("hmdrn-watch", False), ("another", True)])
def test_a_thread_that_hangs_in_a_driver_is_not_unwound_while_the_interpreter_ends(thread, atexit_runs):
    code = f"""
import atexit, sys, threading
from hmdrn import _entry_points
from hmdrn.cli import main as cli
atexit.register(print, "the interpreter ends")
threading.Thread(target=threading.Event().wait, name={thread!r}, daemon=True).start()
cli.main = lambda: print("summary") or 7
sys.exit(_entry_points.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.splitlines() == ["summary", "the interpreter ends"][: 1 + atexit_runs]
