"""Time and memory from a cold interpreter to the first prediction, in new processes; size of the wheel.

python -m benchmarks.startup [--starts 9] [--no-wheel] [--allow-busy] [--json]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import hmdrn
from benchmarks.common import BenchmarkRun, Result, Table, main
from hmdrn.cold_start import measure_cold_start
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.inputs import enroll_drawn, make_jpeg_photo

_ROOT = Path(__file__).parent.parent
_SOURCES = ("runtime", "network", "export", "calibration", "sdk")
_FILES = ("pyproject.toml", "README.md", "LICENSE")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--starts", type=int, default=9, help="new processes")
    parser.add_argument("--no-wheel", action="store_true", help="do not build the wheel")


def measure(run: BenchmarkRun) -> Result:
    """Measure new processes, and build the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        birds = hmdrn.load("default")
        enroll_drawn(birds, 5)
        gallery, photo = Path(folder) / "g.gallery", Path(folder) / "photo.jpg"
        birds.save_gallery(gallery)
        photo.write_bytes(make_jpeg_photo())
        run.load_monitor.check()
        start = measure_cold_start("default", gallery, photo, run.arguments.starts)
        run.load_monitor.check()
        wheel = None if run.arguments.no_wheel else measure_wheel(Path(folder))
    ready = start.load_s + start.classify_s
    rows = [
        ["import hmdrn", f"{start.import_s:.3f} s"],
        ["hmdrn.load to first prediction", f"{ready:.3f} s"],
        ["together", f"{start.total_s:.3f} s"],
        ["peak memory", "not reported" if start.peak_mib is None else f"{start.peak_mib:.0f} MiB"],
        ["wheel", "not built" if wheel is None else f"{wheel / 1e6:.2f} MB"],
    ]
    return Result(
        {**asdict(start), "load_to_prediction_s": ready, "wheel_bytes": wheel},
        [Table(f"medians of {start.runs} new processes", ["what", "median"], rows)],
    )


def measure_wheel(folder: Path) -> int:
    """Build the checkout's wheel in a folder with the installed build tools, and return its size in bytes.

    Raises:
        HmdrnError: It cannot be built.
    """
    # In a copy: leftovers of earlier builds in the checkout would end up in the wheel.
    copy = folder / "checkout"
    for name in _SOURCES:
        shutil.copytree(_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(_ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w"]
    done = subprocess.run([*command, str(folder), str(copy)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise HmdrnError(
            f"the wheel was not built ({last}): pip install 'setuptools>=77', or give --no-wheel"
        )
    return next(folder.glob("*.whl")).stat().st_size


if __name__ == "__main__":
    sys.exit(main("startup/1", __doc__, measure, add_options))
