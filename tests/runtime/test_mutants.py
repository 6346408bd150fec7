"""Files with something wrong in them: refused in one line, soon, and within little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MUTANTS = int(os.environ.get("HMDRN_MUTANTS", "300"))
SCRIPT = Path(__file__).parents[1] / "helpers" / "mutants.py"
MOST_SECONDS, MOST_BYTES = 2.0, 500e6


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "share"), [("bundle", 0.3), ("gallery", 0.3), ("image", 0.4)])
def test_whatever_is_wrong_with_a_file_it_is_refused_or_read_as_it_was(tmp_path, kind, share):
    """A share of 300 mutants; HMDRN_MUTANTS=2000 makes more."""
    count = round(share * MUTANTS)
    # A process of its own: a crash of native code is an exit code, and the memory is that of these files.
    done = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(count), "5", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=60 + count,  # an endless loop
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["wrong"] == []
    assert result["refused"] > count / 2  # else they were hardly damaged at all
    assert result["slowest"] < MOST_SECONDS, result
    assert result["peak"] is None or result["peak"] * 2**20 < MOST_BYTES, result
