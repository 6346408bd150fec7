"""Rate at which `hmdrn label` names a trail camera's card, killed once and continued.

    python -m benchmarks.card DATA... --photos 5000

A few hundred JPEGs are made from the photos of the data, as large as a camera's and with its noise; the card
is links to them. None has EXIF, so each photo is a visit with its pictures, the costliest case. The rate is
that of the whole command, start included; processor time changes little under other load.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click
import numpy as np
import PIL.Image

import hmdrn
from benchmarks.common import print_values
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.errors import HmdrnError

SPECIES, SHOTS = 5, 5
NOISE = 5.0
"""Standard deviation of a camera's noise, in gray values."""
QUALITY = 85


@dataclass(frozen=True)
class Run:
    """One run of the command.

    Attributes:
        seconds: Time from start to end.
        cpu: Processor time of all its threads, in seconds.
        values: The JSON that it printed; empty if it was killed.
    """

    seconds: float
    cpu: float
    values: Mapping[str, int]


def write_photos(
    folder: Path, images: Iterable[PIL.Image.Image], size: tuple[int, int], seed: int = 0
) -> None:
    """Write a JPEG of a camera's size for each image."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number, image in enumerate(images):
        large = image.resize(size, PIL.Image.Resampling.BICUBIC)
        pixels = np.asarray(large) + rng.normal(0, NOISE, (size[1], size[0], 1)).astype(np.float32)
        PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            folder / f"{number:04d}.jpg", quality=QUALITY
        )


def link_card(card: Path, originals: Path, photos: int) -> None:
    """Make a card of a number of photos: links to the originals, a hundred in a folder."""
    sources = sorted(originals.iterdir())
    for number in range(photos):
        folder = card / f"{100 + number // 100}MEDIA"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"IMG_{number:05d}.JPG").symlink_to(sources[number % len(sources)])


def label_card(card: Path, gallery: Path, visits: Path, kill_after: float | None = None) -> Run:
    """Run the command.

    Args:
        card: The card.
        gallery: The gallery.
        visits: The diary.
        kill_after: Seconds after which it is killed; None to let it end.

    Raises:
        HmdrnError: It failed.
    """
    places = (str(card), "--gallery", str(gallery), "--visits", str(visits))
    command = [sys.executable, "-m", "hmdrn", "label", *places, "--json"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        out, _ = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
    else:
        if process.returncode:
            raise HmdrnError(f"hmdrn label ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(time.monotonic() - start, cpu, json.loads(out) if process.returncode == 0 else {})


def summarize(first: Run, second: Run, photos: int) -> dict[str, float | bool]:
    """Return rates of a run that may have been killed and of the one that continued it, JSON-ready."""
    seconds, cpu = first.seconds + second.seconds, first.cpu + second.cpu
    last = second.values
    return {
        "photos": photos,
        "photos_a_second": round(photos / seconds, 1),
        "cpu_ms_a_photo": round(1e3 * cpu / photos, 2),
        "labeled_before_the_kill": last["seen"],
        "labeled_after_it": last["labeled"],
        "complete_without_repeat": last["seen"] + last["labeled"] == photos == last["photos"],
    }


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", help="Split of the data.")
@click.option("--photos", default=5000, help="Photos on the card.")
@click.option("--originals", default=300, help="JPEGs that they are links to.")
@click.option("--size", default="1920x1080", help="Width and height.")
@click.option("--kill-after", default=10.0, help="Seconds after which the first run is killed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    data: Sequence[Path], split: str, photos: int, originals: int, size: str, kill_after: float, as_json: bool
) -> None:
    """Measure the labeling of a card."""
    classes = {label: files for path in data for label, files in open_dataset(path, split).classes.items()}
    width, height = (int(side) for side in size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recognizer = hmdrn.load("default")
        for label, files in islice(classes.items(), SPECIES):
            recognizer.enroll(label, [files[i].load() for i in range(SHOTS)])
        recognizer.save_gallery(folder / "card.gallery")
        sources = [photo for files in classes.values() for photo in files]
        chosen = [sources[i * len(sources) // originals] for i in range(min(originals, len(sources)))]
        write_photos(folder / "originals", (photo.load() for photo in chosen), (width, height))
        link_card(folder / "card", folder / "originals", photos)
        mean = sum(path.stat().st_size for path in (folder / "originals").iterdir()) / len(chosen)
        places = (folder / "card", folder / "card.gallery", folder / "card.visits")
        runs = label_card(*places, kill_after), label_card(*places)
        values = {
            "size": size,
            "kilobytes_a_photo": round(mean / 1e3),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            **summarize(*runs, photos),
        }
        with hmdrn.VisitStore(folder / "card.visits") as store:
            values["visits"] = store.count()
    print_values("card/1", values, as_json)


if __name__ == "__main__":
    main()
