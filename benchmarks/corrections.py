"""Seconds from a correction to the first answer under the new name, in a `hmdrn watch` that runs meanwhile.

    python -m benchmarks.corrections DATA... --strangers 10

A film shows a photo of each stranger, a species that the gallery lacks, and then another photo of each. As
soon as the other photo is in the picture, a second process corrects what the diary has of the stranger by
`hmdrn visits correct`. Times are those at which events are read, from the moment when the gallery's file was
written, and from the end of the command, which comes later: below 0 the answer was there before.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import click
import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

import hmdrn
from benchmarks.common import print_values
from hmdrn_runtime.datasets.dataset import Photo, open_dataset
from hmdrn_runtime.errors import HmdrnError

KNOWN, SHOTS = 5, 5
"""Species of the gallery, and photos of each."""
RATE = 15.0
SIZE = (1280, 720)
MARGIN = 0.5
"""Seconds at the beginning and end of a photo in which nothing is corrected or counted."""
HAND = 8
"""Pixels by which the picture moves."""

Event: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Correction:
    """Times of one correction, in seconds since 1970.

    Attributes:
        written: The gallery's file was written.
        ended: The command ended.
        answered: A frame was answered under the new name; None if none was while the photo was shown.
        named: The smoothed label changed to it; None likewise.
    """

    written: float
    ended: float
    answered: float | None
    named: float | None


def summarize(corrections: Sequence[Correction]) -> dict[str, float | int | None]:
    """Return the medians and the longest times, in seconds, as JSON-ready values."""
    values: dict[str, float | int | None] = {"corrections": len(corrections)}
    answered = [c for c in corrections if c.answered is not None and c.named is not None]
    values["answered"] = len(answered)
    for start in ("written", "ended"):
        for end in ("answered", "named"):
            seconds = [getattr(c, end) - getattr(c, start) for c in answered]
            for kind, reduce in (("median", np.median), ("longest", np.max)):
                name = f"seconds_from_{start}_to_{end}_{kind}"
                values[name] = round(float(reduce(seconds)), 3) if seconds else None
    return values


def write_film(path: Path, photos: Sequence[PIL.Image.Image], seconds: float) -> None:
    """Show each photo for some seconds, held by a hand that is not quite still.

    Raises:
        HmdrnError: This OpenCV cannot write it.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE)
    if not writer.isOpened():
        raise HmdrnError(f"cannot write {path}: this OpenCV has no MPEG-4 encoder")
    width, height = SIZE
    for photo in photos:
        pixels = np.asarray(PIL.ImageOps.fit(photo, (width + HAND, height + HAND)))[..., ::-1]
        for number in range(round(seconds * RATE)):
            x, y = (round(HAND / 2 * (1 + np.sin(number / pace))) for pace in (5, 7))
            writer.write(np.ascontiguousarray(pixels[y : y + height, x : x + width]))
    writer.release()


class WatchedFilm:
    """A `hmdrn watch` of the folder's film in another process, and its events as they come.

    Args:
        folder: Has `film.mp4` and `film.gallery`; the diary `film.visits` comes into it.
    """

    def __init__(self, folder: Path) -> None:
        places = ("--source", str(folder / "film.mp4"), "--gallery", str(folder / "film.gallery"))
        options = ("--visits", str(folder / "film.visits"), "--newest", "--all", "--json", "--threads", "1")
        command = [sys.executable, "-m", "hmdrn", "watch", "default", *places, *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self._events: queue.Queue[tuple[float, Event] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next_event(self) -> tuple[float, Event]:
        """Wait for the next event of a frame or label; return it with the time when it was read.

        Raises:
            HmdrnError: The watching has ended.
        """
        while (item := self._events.get()) is not None:
            if item[1]["event"] in ("frame", "label"):
                return item
        raise HmdrnError(f"hmdrn watch has ended, with {self.process.wait()}")

    def skip_to(self, position: float) -> None:
        """Wait until the film is at a position in seconds."""
        while self.next_event()[1]["position"] < position:
            pass

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._events.put((time.time(), json.loads(line)))
        self._events.put(None)


def correct(folder: Path, label: str, visits: Sequence[int]) -> tuple[float, float]:
    """Correct visits in another process; return when the gallery was written, and when that process ended.

    Raises:
        HmdrnError: It failed.
    """
    gallery = folder / "film.gallery"
    places = (str(folder / "film.visits"), *map(str, visits), "--is", label, "--gallery", str(gallery))
    command = [sys.executable, "-m", "hmdrn", "visits", "correct", *places]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    ended = time.time()
    if done.returncode:
        raise HmdrnError(f"hmdrn visits correct ended with {done.returncode}")
    return gallery.stat().st_mtime, ended


def find_visits(visits: Sequence[hmdrn.Visit], begin: float, start: float, end: float) -> list[int]:
    """Return the numbers of the visits that began in a part of a film.

    Args:
        visits: The visits.
        begin: When the film began, in seconds since 1970.
        start: Start of the part, in seconds of the film.
        end: Its end.
    """
    return [visit.id for visit in visits if start <= visit.start.timestamp() - begin < end and visit.pictures]


def await_name(film: WatchedFilm, label: str, end: float) -> tuple[float | None, float | None]:
    """Return the times of the first frame, and first smoothed label, with a name; None if not by `end`."""
    answered: float | None = None
    while True:
        moment, event = film.next_event()
        if event["position"] >= end:
            return answered, None
        if event["event"] == "frame":
            if answered is None and event["sightings"][0]["answer"]["label"] == label:
                answered = moment
            if event["sightings"][0]["label"] == label:
                return answered, moment


def measure(folder: Path, labels: Sequence[str], seconds: float) -> list[Correction]:
    """Correct each stranger while the film shows it for the second time."""
    film, corrections = WatchedFilm(folder), []
    try:
        moment, first = film.next_event()
        begin = moment - first["position"]
        for number, label in enumerate(labels):
            start = (len(labels) + number) * seconds
            film.skip_to(start + MARGIN)
            shown = number * seconds
            with hmdrn.VisitStore(folder / "film.visits") as store:
                closed = store.find(hmdrn.VisitFilter(closed=True))
            visits = find_visits(closed, begin, shown - MARGIN, shown + seconds - MARGIN)
            if visits:
                written, ended = correct(folder, label, visits)
                times = await_name(film, label, start + seconds - MARGIN)
                corrections.append(Correction(written, ended, *times))
    finally:
        film.close()
    return corrections


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", help="Split of the data.")
@click.option("--strangers", default=10, help="Species that are corrected.")
@click.option("--seconds", default=8.0, help="Time for which a photo is shown.")
@click.option("--seed", default=0, help="Chooses species and photos.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(data: Sequence[Path], split: str, strangers: int, seconds: float, seed: int, as_json: bool) -> None:
    """Measure how soon a correction counts in a running `hmdrn watch`."""
    classes: dict[str, Sequence[Photo]] = {}
    for path in data:
        classes |= open_dataset(path, split).classes
    rng = np.random.default_rng(seed)
    usable = sorted(label for label, photos in classes.items() if len(photos) > SHOTS)
    if len(usable) < KNOWN + strangers:
        raise click.UsageError(f"{KNOWN + strangers} species with over {SHOTS} photos are needed")
    chosen = rng.permutation(usable).tolist()[: KNOWN + strangers]
    recognizer = hmdrn.load("default", threads=1)
    for label in chosen[:KNOWN]:
        recognizer.enroll(label, [photo.load() for photo in classes[label][:SHOTS]])
    photos = [classes[label][number].load() for number in (0, 1) for label in chosen[KNOWN:]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recognizer.save_gallery(folder / "film.gallery")
        write_film(folder / "film.mp4", photos, seconds)
        corrections = measure(folder, chosen[KNOWN:], seconds)
    print_values("corrections/1", summarize(corrections), as_json)


if __name__ == "__main__":
    main()
