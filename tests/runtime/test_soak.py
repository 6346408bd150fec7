"""Hours in the field: classifying, enrolling and forgetting for long without growing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = os.environ.get("HMDRN_SOAK") == "full"
CLASSIFICATIONS, CYCLES = (200_000, 2_000) if FULL else (1_500, 30)
MOST_GROWTH = 5e6
"""Bytes of resident memory."""

# A process of its own: what other tests leave behind would hide what grows here.
SOAK = """
import json, os, sys
from pathlib import Path
import numpy as np
import hmdrn

classifications, cycles = map(int, sys.argv[1:])
rng = np.random.default_rng(5)
photos = rng.integers(0, 256, (12, 84, 84, 3), dtype=np.uint8)
frames = rng.integers(0, 256, (8, 240, 320, 3), dtype=np.uint8)
birds = hmdrn.load("default", threads=1)
for n, label in enumerate(("ant", "bee", "moth")):
    birds.enroll(label, photos[n * 3 : n * 3 + 3])

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

def soak(cycles, classifications):
    for cycle in range(cycles):
        # A new species each time, and photos never seen: whatever is kept by name or by photo would add up.
        guest = f"guest {rng.integers(1 << 60)}"
        birds.enroll(guest, rng.integers(0, 256, (3, 84, 84, 3), dtype=np.uint8))
        for n in range(classifications // cycles):
            birds.classify(frames[n % 8] if n % 2 else photos[n % 12])
        birds.forget(guest)

# Past the 200 changes that a gallery remembers: until then its history grows, as it should.
soak(110, 330)
seen = [resident()]
for part in range(10):
    soak(cycles // 10, classifications // 10)
    seen.append(resident())
    print(f"part {part}: {seen[-1] - seen[0]:+d} bytes", file=sys.stderr, flush=True)
print(json.dumps({"resident": seen, "species": len(birds.gallery)}))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="needs /proc, which reports resident memory"
)
def test_resident_memory_stays_where_it_is_after_warm_up():
    """A share of the soak; HMDRN_SOAK=full makes 200,000 classifications and 2,000 enrollments."""
    done = subprocess.run(
        [sys.executable, "-c", SOAK, str(CLASSIFICATIONS), str(CYCLES)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["species"] == 3
    growth = max(result["resident"][1:]) - result["resident"][0]
    assert growth < MOST_GROWTH, f"{growth / 1e6:.1f} MB: {done.stderr}"
