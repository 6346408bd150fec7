"""Seconds from a correction to the first answer under the new name, in a `hmdrn watch` that runs meanwhile.

    python -m benchmarks.corrections DATA... --strangers 10
    python -m benchmarks.corrections DATA... --strangers 20 --names

A film is made from the photos (see `benchmarks.motion`). It shows strangers, species that the gallery lacks,
which come and go. When one comes for the second time, a second process corrects what the diary has of its
first visit by `hmdrn visits correct`. Times are those at which events are read: `answered` is the first frame
under the new name, `named` the change of the label, which is smoothed and had another name so far. They count
from the moment when the gallery's file was written, and from the end of the command, which comes later: below
0 the answer was there before. Both visits show the same photo: these are times, and nothing about how often a
name is right. That is what `--names` measures, without a film: a stranger beside five species is taught one,
two, three and five photos, each as a visit of its own, and asked other photos after each.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import click
import cv2
import numpy as np

import hmdrn
from benchmarks.common import print_values
from benchmarks.motion.__main__ import make_subject
from benchmarks.motion.film import Film, FilmSettings, Visit
from benchmarks.watching import write_film
from hmdrn_runtime.datasets.dataset import Photo, open_dataset
from hmdrn_runtime.errors import HmdrnError

KNOWN, SHOTS = 5, 5
"""Species of the gallery, and photos of each."""
RATE = 15.0
SIZE = (1280, 720)
TAUGHT, ASKED = (1, 2, 3, 5), 12
"""Photos that a stranger is taught before it is asked, and photos that it is asked, of `--names`."""
HEIGHTS = (0.3, 0.4)
"""Heights of subjects, as shares of the film's."""
FOUND_SECONDS = 1.5
"""Seconds after which a subject has been found, and its earlier visit is corrected."""

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


def plan_corrections(visits: Sequence[Visit]) -> list[tuple[Visit, Visit]]:
    """Return the first two visits of each stranger, by the time of the second."""
    first: dict[int, Visit] = {}
    pairs: dict[int, tuple[Visit, Visit]] = {}
    for visit in visits:
        stranger = visit.subject
        if stranger in first and stranger not in pairs:
            pairs[stranger] = first[stranger], visit
        first.setdefault(stranger, visit)
    return list(pairs.values())


class WatchedFilm:
    """A `hmdrn watch` of the folder's film in another process, and its events as they come.

    Args:
        folder: Has `film.mp4` and `film.gallery`; the diary `film.visits` comes into it.
    """

    def __init__(self, folder: Path) -> None:
        places = ("--source", str(folder / "film.mp4"), "--gallery", str(folder / "film.gallery"))
        diary = ("--detect", "motion", "--visits", str(folder / "film.visits"))
        options = ("--newest", "--all", "--json", "--threads", "1")
        command = [sys.executable, "-m", "hmdrn", "watch", "default", *places, *diary, *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self._events: queue.Queue[tuple[float, Event] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next_event(self) -> tuple[float, Event]:
        """Wait for the next frame that is answered; return its event with the time when it was read.

        Raises:
            HmdrnError: The watching has ended.
        """
        while (item := self._events.get()) is not None:
            if item[1]["event"] == "frame":
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
        sightings = event["sightings"]
        if answered is None and any(sighting["answer"]["label"] == label for sighting in sightings):
            answered = moment
        if any(sighting["label"] == label for sighting in sightings):
            return answered, moment


def measure(folder: Path, pairs: Sequence[tuple[Visit, Visit]], labels: Sequence[str]) -> list[Correction]:
    """Correct the first visit of each pair while the film shows the second."""
    film, corrections = WatchedFilm(folder), []
    try:
        moment, event = film.next_event()
        begin = moment - event["position"]
        for first, second in pairs:
            film.skip_to(second.start + FOUND_SECONDS)
            with hmdrn.VisitStore(folder / "film.visits") as store:
                closed = store.find(hmdrn.VisitFilter(closed=True))
            if visits := find_visits(closed, begin, first.start, first.end):
                label = labels[first.subject]
                written, ended = correct(folder, label, visits)
                corrections.append(Correction(written, ended, *await_name(film, label, second.end)))
    finally:
        film.close()
    return corrections


def measure_names(
    classes: Mapping[str, Sequence[Photo]], strangers: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return the percentage of a stranger's other photos with its name, by the photos that it was taught.

    Args:
        classes: Photos by species; those with too few are left out.
        strangers: Species that are in turn the stranger.
        rng: Chooses species and photos.
    """
    usable = sorted(label for label, photos in classes.items() if len(photos) >= TAUGHT[-1] + ASKED)
    shares: dict[int, list[float]] = {count: [] for count in TAUGHT}
    for stranger in rng.permutation(usable)[:strangers].tolist():
        recognizer = hmdrn.load("default", threads=1)
        others = [label for label in usable if label != stranger]
        for label in rng.choice(others, KNOWN, replace=False).tolist():
            recognizer.enroll(label, [photo.load() for photo in classes[label][:SHOTS]])
        order = rng.permutation(len(classes[stranger]))[: TAUGHT[-1] + ASKED]
        photos = [classes[stranger][i].load() for i in order]
        for before, count in zip((0, *TAUGHT), TAUGHT, strict=False):
            for photo in photos[before:count]:
                recognizer.enroll(stranger, photo)
            answers = recognizer.classify_batch(photos[TAUGHT[-1] :])
            shares[count].append(100 * float(np.mean([answer.label == stranger for answer in answers])))
    values: dict[str, Any] = {"strangers": len(shares[TAUGHT[0]])}
    for count, percents in shares.items():
        values[f"right_after_{count}"] = round(float(np.mean(percents)), 1)
        values[f"right_after_{count}_interval"] = round(
            1.96 * float(np.std(percents, ddof=1)) / len(percents) ** 0.5, 1
        )
    return values


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", help="Split of the data.")
@click.option("--strangers", default=10, help="Species that are corrected.")
@click.option("--seconds", default=8.0, help="Length of a visit.")
@click.option("--minutes", default=4.0, help="Length of the film.")
@click.option("--seed", default=0, help="Chooses species and photos.")
@click.option("--names", is_flag=True, help="Measure how often names are right, not times.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    data: Sequence[Path],
    split: str,
    strangers: int,
    seconds: float,
    minutes: float,
    seed: int,
    names: bool,
    as_json: bool,
) -> None:
    """Measure how soon a correction counts in a running `hmdrn watch`."""
    cv2.setNumThreads(1)
    classes: dict[str, Sequence[Photo]] = {}
    for path in data:
        classes |= open_dataset(path, split).classes
    rng = np.random.default_rng(seed)
    if names:
        print_values("corrections.names/1", measure_names(classes, strangers, rng), as_json)
        return
    usable = sorted(label for label, photos in classes.items() if len(photos) > SHOTS)
    if len(usable) < KNOWN + strangers:
        raise click.UsageError(f"{KNOWN + strangers} species with over {SHOTS} photos are needed")
    chosen = rng.permutation(usable).tolist()[: KNOWN + strangers]
    recognizer, labels = hmdrn.load("default", threads=1), chosen[KNOWN:]
    for label in chosen[:KNOWN]:
        recognizer.enroll(label, [photo.load() for photo in classes[label][:SHOTS]])
    settings = FilmSettings(
        60 * minutes, RATE, SIZE, heights=HEIGHTS, visits=(seconds, seconds + 1), pauses=(2.5, 3.5), seed=seed
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recognizer.save_gallery(folder / "film.gallery")
        film = Film([make_subject(classes[label][0]) for label in labels], settings)
        write_film(folder / "film.mp4", film)
        corrections = measure(folder, plan_corrections(film.visits), labels)
    print_values("corrections/1", summarize(corrections), as_json)


if __name__ == "__main__":
    main()
