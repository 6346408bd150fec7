"""Processor time and memory of `hmdrn watch` on a 1080p film with motion, names and a diary.

    python -m benchmarks.watching DATA... --minutes 30

The share of one core is the processor time for each frame that was read, start included, at 15 a second.
A film of two minutes at 15 frames a second is made from the photos first (see `benchmarks.motion`) and played
at its own rate, again and again, by a process whose processor time and memory are read from /proc (Linux).
Other load on the machine does not change processor time much, but may cost frames, which are counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.common import print_values
from benchmarks.motion.__main__ import Species
from benchmarks.motion.film import Film, FilmSettings
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.errors import HmdrnError

RATE = 15.0
"""Frames a second of the film."""
SETTLE_SECONDS, MIN_SECONDS = 60.0, 120.0
"""Seconds after which memory counts as settled, and the least seconds from there to measure its growth."""
INTERVAL = 5.0
"""Seconds between two readings."""


@dataclass(frozen=True)
class Reading:
    """Resources of a process.

    Attributes:
        seconds: Time since its start.
        cpu: Processor time so far in seconds, of all its threads.
        mib: Resident memory in MiB.
    """

    seconds: float
    cpu: float
    mib: float


def read_process(pid: int, start: float) -> Reading | None:
    """Read the resources of a process from /proc; None once it has ended."""
    folder = Path("/proc") / str(pid)
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = int((folder / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    ticks = int(fields[11]) + int(fields[12])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Reading(time.monotonic() - start, ticks / os.sysconf("SC_CLK_TCK"), mib) if pages else None


def summarize(readings: Sequence[Reading]) -> dict[str, float | None]:
    """Return the time, and the memory in MiB and its growth, as JSON-ready values."""
    last = readings[-1]
    settled = [reading for reading in readings if reading.seconds >= SETTLE_SECONDS]
    growth = None
    if settled and last.seconds - settled[0].seconds >= MIN_SECONDS:
        slope = np.polyfit([reading.seconds for reading in settled], [reading.mib for reading in settled], 1)[
            0
        ]
        growth = round(600 * float(slope), 2)
    return {
        "seconds": round(last.seconds, 1),
        "mib_settled": round(settled[0].mib, 1) if settled else None,
        "mib_most": round(max(reading.mib for reading in readings), 1),
        "mib_last": round(last.mib, 1),
        "mib_growth_in_ten_minutes": growth,
    }


def write_film(path: Path, film: Film) -> None:
    """Write a film.

    Raises:
        HmdrnError: This OpenCV cannot write it.
    """
    settings = film.settings
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), settings.rate, settings.size)
    if not writer.isOpened():
        raise HmdrnError(f"cannot write {path}: this OpenCV has no MPEG-4 encoder")
    for pixels, _, _ in film:
        writer.write(pixels)
    writer.release()


def watch_film(
    folder: Path, seconds: float, every_frame: bool, with_clips: bool = False
) -> tuple[list[Reading], dict[str, int]]:
    """Watch the folder's film in another process; returns readings, and the summary that it prints.

    Raises:
        HmdrnError: The process failed.
    """
    places = ("--source", str(folder / "film.mp4"), "--gallery", str(folder / "film.gallery"))
    options = ("--detect", "motion", "--visits", str(folder / "film.visits"), "--threads", "1", "--json")
    pace = () if every_frame else ("--newest", "--loop", "--max-seconds", str(seconds))
    clips = ("--clips",) if with_clips else ()
    command = [sys.executable, "-m", "hmdrn", "watch", "default", *places, *options, *pace, *clips]
    start, readings = time.monotonic(), []
    with (folder / "events.jsonl").open("wb") as events:
        process = subprocess.Popen(command, stdout=events, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while process.poll() is None:
            time.sleep(INTERVAL)
            if (reading := read_process(process.pid, start)) is not None:
                readings.append(reading)
    if process.returncode or not readings:
        raise HmdrnError(f"hmdrn watch ended with {process.returncode} after {len(readings)} readings")
    with (folder / "events.jsonl").open(encoding="utf-8") as lines:
        *_, last = lines
    summary = json.loads(last)
    return readings, {name: summary[name] for name in ("read", "classified", "dropped")}


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", help="Split of the data.")
@click.option("--minutes", default=30.0, help="Time to watch.")
@click.option("--film-minutes", default=2.0, help="Length of the film.")
@click.option("--size", default="1920x1080", help="Width and height.")
@click.option("--every-frame", is_flag=True, help="Play the film once, as fast as possible.")
@click.option("--clips", "with_clips", is_flag=True, help="Keep clips of the visits, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    data: Sequence[Path],
    split: str,
    minutes: float,
    film_minutes: float,
    size: str,
    every_frame: bool,
    with_clips: bool,
    as_json: bool,
) -> None:
    """Measure processor time and memory of watching a film."""
    cv2.setNumThreads(1)
    classes = {label: photos for path in data for label, photos in open_dataset(path, split).classes.items()}
    width, height = (int(side) for side in size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        species = Species(classes, 5, 5, 0)
        species.recognizer.save_gallery(folder / "film.gallery")
        film = Film(species.subjects, FilmSettings(60 * film_minutes, RATE, (width, height)))
        write_film(folder / "film.mp4", film)
        readings, counts = watch_film(folder, 60 * minutes, every_frame, with_clips)
    cpu = readings[-1].cpu / max(counts["read"], 1)
    values = {**summarize(readings), **counts}
    values |= {"cpu_ms_a_frame": round(1e3 * cpu, 2), "core_percent": round(100 * cpu * RATE, 1)}
    print_values("watching/1", values, as_json)


if __name__ == "__main__":
    main()
