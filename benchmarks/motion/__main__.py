"""Subjects that motion finds, and names of the boxes that it finds.

    python -m benchmarks.motion DATA... --films 5 --minutes 2

The films take the data in turns, so that the species of a film are of one group.
Films are made from the photos: subjects of 3 to 40 % of the height pasted before leaves, drifting light,
clouds and noise, none in a third of the time. Each film shows photos of some species, of which others are
enrolled. CPU time is that of this process for the detector alone, without decoding and naming.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import PIL.Image

import hmdrn
from benchmarks.common import print_values
from benchmarks.motion.film import Conditions, Film, FilmSettings, UInt8
from benchmarks.motion.score import CROPS, FilmScorer, MotionScore
from hmdrn_runtime.datasets.dataset import Photo, open_dataset
from hmdrn_runtime.images.preprocessing import Box, crop_box

SIDE = 256
"""Side in pixels of the photos that are pasted."""
NAME_EVERY = 5
"""Of so many frames with a subject, one is named."""


def make_subject(photo: Photo) -> UInt8:
    """Return a photo as a subject of films."""
    image = photo.load().resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])


class Species:
    """Species to show in a film: some photos of each are enrolled, others are shown."""

    def __init__(self, classes: Mapping[str, Sequence[Photo]], way: int, shots: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.recognizer = hmdrn.load("default", threads=1)
        self.labels: list[str] = []
        self.subjects: list[UInt8] = []
        usable = sorted(label for label, photos in classes.items() if len(photos) > shots)
        for label in random.choice(usable, min(way, len(usable)), replace=False).tolist():
            photos = [classes[label][i] for i in random.permutation(len(classes[label]))[: 2 * shots + 4]]
            self.recognizer.enroll(label, [photo.load() for photo in photos[:shots]])
            for photo in photos[shots:]:
                self.subjects.append(make_subject(photo))
                self.labels.append(label)

    def name(self, image: PIL.Image.Image, boxes: Sequence[Box | None]) -> list[hmdrn.Prediction]:
        """Return the prediction for each box, or for the whole image."""
        crops = [image if box is None else crop_box(image, box) for box in boxes]
        return self.recognizer.classify_batch(crops)


def score_film(species: Species, film: Film, score: MotionScore) -> float:
    """Score a film; returns the detector's CPU time in seconds."""
    detector, scorer, spent, named = hmdrn.MotionDetector(), FilmScorer(score), 0.0, 0
    for pixels, truth, moment in film:
        frame = hmdrn.Frame(0, moment, moment, moment, pixels)
        start = time.process_time()
        boxes = detector(frame)
        spent += time.process_time() - start
        matches = scorer.add(boxes, truth, moment)
        named += bool(matches)
        if matches and named % NAME_EVERY == 0:
            for visit, true, found in matches:
                label = species.labels[film.visits[visit].subject]
                predictions = species.name(frame.image, [found, true, None])
                scorer.add_names(visit, label, dict(zip(CROPS, predictions, strict=True)))
    scorer.finish(film.settings.seconds, film.settings.rate)
    return spent


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", help="Split of the data.")
@click.option("--films", default=5, help="Number of films.")
@click.option("--minutes", default=2.0, help="Length of each film.")
@click.option("--size", default="1920x1080", help="Width and height.")
@click.option("--rate", default=15.0, help="Frames a second.")
@click.option("--way", default=5, help="Species in a film.")
@click.option("--shots", default=5, help="Photos of each that are enrolled.")
@click.option("--noise", default=Conditions().noise, help="Noise, 0-255.")
@click.option("--seed", default=0, help="Seed of the first film.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    data: Sequence[Path],
    split: str,
    films: int,
    minutes: float,
    size: str,
    rate: float,
    way: int,
    shots: int,
    noise: float,
    seed: int,
    as_json: bool,
) -> None:
    """Score motion on films made from photos, and names by its boxes, true boxes and whole frames."""
    cv2.setNumThreads(1)
    groups = [open_dataset(path, split).classes for path in data]
    width, height = (int(side) for side in size.split("x"))
    score, spent = MotionScore(), 0.0
    for index in range(seed, seed + films):
        species = Species(groups[index % len(groups)], way, shots, index)
        settings = FilmSettings(60 * minutes, rate, (width, height), seed=index)
        spent += score_film(species, Film(species.subjects, settings, Conditions(noise=noise)), score)
    values = {**score.to_dict(), "cpu_ms_a_frame": round(1e3 * spent / (score.seconds * rate), 2)}
    print_values("motion/1", values, as_json)


if __name__ == "__main__":
    main()
