"""Cost of the studio: of a live view and of many connections to the naming of frames, and of an idle hour.

python -m benchmarks.studio DATA... [--rounds 4] [--window 6] [--idle 60] [--allow-busy] [--json]

A studio names 1080p frames from memory as fast as it can, in turns with nobody looking, with the live page
open, and with 200 connections that all ask for the live picture. The viewers run on this machine too: their
processor time counts against the studio. Each loss is the median over the rounds. The idle studio has a page
open, which asks every three seconds whether something has changed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import BenchmarkRun, Result, Table, main
from benchmarks.motion.__main__ import Species
from benchmarks.motion.film import Film, FilmSettings
from benchmarks.studio.process import StudioProcess, Window, run_studio
from benchmarks.studio.viewers import Crowd, open_page
from hmdrn_runtime.datasets.dataset import open_dataset

MAX_LIVE_LOSS, MAX_CROWD_LOSS = 10.0, 20.0
"""Percent of throughput that a live view and many connections may cost."""
MAX_IDLE, MAX_MIB = 2.0, 200.0
"""Percent of a core, and MiB, of an idle studio."""
_FRAMES, _SIZE = 8, (1920, 1080)
_SETTLE = 3.0
"""Seconds before a measurement."""
_VERSION_SECONDS = 3.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("data", nargs="+", type=Path, help="data sets of the species")
    parser.add_argument("--split", default="val", help="split of the data")
    parser.add_argument("--rounds", type=int, default=4, help="measurements of each kind")
    parser.add_argument("--window", type=float, default=6.0, help="seconds of a measurement")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of the idle studio")
    parser.add_argument("--connections", type=int, default=200, help="connections at once")


def measure(run: BenchmarkRun) -> Result:
    """Measure a studio that names, and one that is idle."""
    cv2.setNumThreads(1)
    options = run.arguments
    with tempfile.TemporaryDirectory() as name:
        gallery, frames = Path(name) / "site.gallery", Path(name) / "frames.npy"
        prepare(options.data, options.split, gallery, frames)
        run.load_monitor.check()
        places = ("--gallery", str(gallery), "--source", str(frames))
        with run_studio("benchmarks.studio.replay", *places) as studio:
            windows = measure_rounds(run, studio)
        with run_studio("hmdrn", "--gallery", str(gallery)) as studio:
            idle = measure_idle(run, studio)
    values = {**summarize(**windows), **idle}
    limits = {
        "live_loss_percent": MAX_LIVE_LOSS,
        "crowd_loss_percent": MAX_CROWD_LOSS,
        "idle_core_percent": MAX_IDLE,
        "idle_mib": MAX_MIB,
    }
    rows = [
        [name.replace("_", " "), f"{value:.4g}", f"{limits[name]:g}" if name in limits else ""]
        for name, value in values.items()
    ]
    return Result(
        {**values, "limits": limits, "holds": all(values[name] <= limits[name] for name in limits)},
        [
            Table(
                f"medians of {options.rounds} rounds of {options.window:g} s",
                ["what", "figure", "at most"],
                rows,
            )
        ],
    )


def prepare(data: Sequence[Path], split: str, gallery: Path, frames: Path) -> None:
    """Write a gallery of five species, and frames with some of them."""
    classes = {label: photos for path in data for label, photos in open_dataset(path, split).classes.items()}
    species = Species(classes, 5, 5, 0)
    species.recognizer.save_gallery(gallery)
    film = Film(species.subjects, FilmSettings(_FRAMES, 1.0, _SIZE))
    np.save(frames, np.stack([pixels for pixels, _, _ in film]))


def measure_rounds(run: BenchmarkRun, studio: StudioProcess) -> dict[str, list[Window]]:
    """Return the windows with nobody looking, with a live view and with many connections, in turns."""
    seconds = run.arguments.window
    quiet: list[Window] = []
    live: list[Window] = []
    crowded: list[Window] = []
    while not studio.count_frames():
        time.sleep(0.1)
    time.sleep(_SETTLE)
    for _ in range(run.arguments.rounds):
        with studio.measure(quiet):
            time.sleep(seconds)
        with open_page(studio.port) as viewer, studio.measure(live) as pictures:
            before = viewer.pictures
            time.sleep(seconds)
            pictures.append(viewer.pictures - before)
        with studio.measure(crowded) as pictures, Crowd(studio.port, run.arguments.connections) as crowd:
            time.sleep(seconds)
            pictures.append(crowd.pictures)
        run.load_monitor.check()
    return {"quiet": quiet, "live": live, "crowded": crowded}


def summarize(quiet: Sequence[Window], live: Sequence[Window], crowded: Sequence[Window]) -> dict[str, float]:
    """Return rates and losses; other load on the machine hardly changes those of processor time."""
    values = {
        "quiet_frames_a_second": statistics.median(window.rate for window in quiet),
        "quiet_cpu_ms_a_frame": statistics.median(1e3 * window.cpu / window.frames for window in quiet),
        "live_cpu_ms_a_picture": statistics.median(
            1e3 * (other.cpu - other.frames * window.cpu / window.frames) / max(other.pictures, 1)
            for window, other in zip(quiet, live, strict=True)
        ),
    }
    for name, windows in {"live": live, "crowd": crowded}.items():
        losses = [100 * (1 - other.rate / window.rate) for window, other in zip(quiet, windows, strict=True)]
        processor = [
            100 * ((other.cpu / other.frames) / (window.cpu / window.frames) - 1)
            for window, other in zip(quiet, windows, strict=True)
        ]
        values |= {
            f"{name}_pictures_a_second": statistics.median(w.pictures / w.seconds for w in windows),
            f"{name}_loss_percent": statistics.median(losses),
            f"{name}_loss_least": min(losses),
            f"{name}_loss_most": max(losses),
            f"{name}_more_processor_time_a_frame_percent": statistics.median(processor),
        }
    return values


def measure_idle(run: BenchmarkRun, studio: StudioProcess) -> dict[str, float]:
    """Return the share of a core in percent, and the most memory in MiB, of a studio with a page open."""
    for path in ("/gallery", "/enroll", "/models"):
        studio.get(path)
    time.sleep(_SETTLE)
    first = last = studio.read()
    most = first.mib
    while last.seconds - first.seconds < run.arguments.idle:
        time.sleep(_VERSION_SECONDS)
        studio.get("/version")
        last = studio.read()
        most = max(most, last.mib)
        run.load_monitor.check()
    share = 100 * (last.cpu - first.cpu) / (last.seconds - first.seconds)
    return {"idle_core_percent": share, "idle_mib": most}


if __name__ == "__main__":
    sys.exit(main("studio/1", __doc__, measure, add_options))
