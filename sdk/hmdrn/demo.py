"""The demonstration: enroll a few species, classify held-out photos, draw the result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from hmdrn.fonts import draw_text, measure_text
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.datasets.dataset import Dataset, Photo
from hmdrn_runtime.datasets.reading import PhotoReader
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

SPECIES = 5
SHOTS = 5
HELD_OUT = 6
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of the pictures that can be drawn."""
_DRAWN_SIZE = 160

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DemoSpecies:
    """A species of the demonstration: its name, the photos to enroll and the held-out photos."""

    label: str
    support: tuple[Pixels, ...]
    query: tuple[Pixels, ...]


@dataclass(frozen=True)
class DemoResult:
    """Result of the demonstration.

    Attributes:
        species: The species.
        predictions: For every species the predictions for its held-out photos.
        milliseconds: Median time of one classification, from pixels to prediction.
    """

    species: tuple[DemoSpecies, ...]
    predictions: tuple[tuple[Prediction, ...], ...]
    milliseconds: float

    @property
    def total(self) -> int:
        """Number of held-out photos."""
        return sum(map(len, self.predictions))

    @property
    def correct(self) -> int:
        """Number of held-out photos with the correct label."""
        return sum(_count_correct(s, p) for s, p in zip(self.species, self.predictions, strict=True))


def draw_demo_species(seed: int) -> tuple[DemoSpecies, ...]:
    """Draw five look-alike species of butterflies; another seed chooses other ones.

    Args:
        seed: 0 or more.
    """
    species = sorted(np.random.default_rng(seed).choice(1000, size=SPECIES, replace=False).tolist())
    drawn = draw_specimens(species, SHOTS + HELD_OUT, size=_DRAWN_SIZE, seed=seed)
    return tuple(
        DemoSpecies(name_species(s), tuple(images[:SHOTS]), tuple(images[SHOTS:]))
        for s, images in zip(species, drawn, strict=True)
    )


def choose_demo_species(dataset: Dataset, seed: int, reader: PhotoReader) -> tuple[DemoSpecies, ...]:
    """Choose up to five classes of photos, at most half of a class's photos to enroll.

    Args:
        dataset: Photos by class.
        seed: Seed of the choice of classes and photos, 0 or more.
        reader: Collects photos that cannot be read, which are left out.

    Raises:
        DatasetError: There are fewer than two classes with two photos.
    """
    rng = np.random.default_rng(seed)
    usable = [label for label, photos in dataset.classes.items() if len(photos) >= 2]
    if len(usable) < 2:
        raise DatasetError(
            f"{dataset.source} has {len(usable)} classes with 2 photos or more: the demonstration "
            "needs at least 2 such classes, a folder for each"
        )
    species = []
    for label in sorted(rng.choice(usable, size=min(SPECIES, len(usable)), replace=False).tolist()):
        photos = dataset.classes[label]
        shuffled = (photos[i] for i in rng.permutation(len(photos)))
        most = min(SHOTS, len(photos) // 2) + HELD_OUT
        loaded = islice(reader.apply(shuffled, Photo.load), most)
        images = tuple(np.asarray(image) for _, image in loaded)
        shots = min(SHOTS, len(photos) // 2, len(images) // 2)
        if shots:
            species.append(DemoSpecies(label, images[:shots], images[shots:]))
    if len(species) < 2:
        reader.refuse()
    return tuple(species)


def run_demo(recognizer: Recognizer, species: tuple[DemoSpecies, ...]) -> DemoResult:
    """Enroll species and classify their held-out photos."""
    for group in species:
        recognizer.enroll(group.label, group.support)
    recognizer.classify_batch([species[0].query[0]])  # the first call loads the graph
    times: list[float] = []

    def classify(image: Pixels) -> Prediction:
        start = time.perf_counter()
        prediction = recognizer.classify_batch([image])[0]
        times.append(time.perf_counter() - start)
        return prediction

    predictions = tuple(tuple(map(classify, group.query)) for group in species)
    return DemoResult(species, predictions, 1000 * float(np.median(times)))


def build_summary_rows(result: DemoResult) -> Iterator[list[str]]:
    """Yield for every species: name, enrolled photos, correct held-out photos, other labels that they got."""
    for group, predictions in zip(result.species, result.predictions, strict=True):
        others = sorted({p.label for p in predictions if p.label != group.label})
        correct = f"{_count_correct(group, predictions)} of {len(predictions)}"
        yield [group.label, str(len(group.support)), correct, ", ".join(others) or "-"]


def _count_correct(species: DemoSpecies, predictions: tuple[Prediction, ...]) -> int:
    return sum(p.label == species.label for p in predictions)


_TILE = 104
_GAP = 8
_LEFT = 20
_HEADER = 92
_ROW = _TILE + 58
_BACKGROUND, _INK, _FAINT = (250, 250, 247), (34, 34, 34), (118, 118, 112)
_MIN_FONT_SIZE = 8
_GREEN, _RED = (46, 125, 50), (198, 40, 40)


def draw_result(result: DemoResult) -> Image.Image:
    """Draw a row for every species: enrolled photos on the left, classified ones in frames on the right."""
    shots = max(len(group.support) for group in result.species)
    queries = max(len(group.query) for group in result.species)
    split = _LEFT + shots * (_TILE + _GAP) + 3 * _GAP
    width = split + queries * (_TILE + _GAP) + _LEFT
    image = Image.new("RGB", (width, _HEADER + len(result.species) * _ROW + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    title = f"{result.correct} of {result.total} held-out photos correct, {result.milliseconds:.1f} ms each"
    draw.text((_LEFT, 14), title, _INK, _font(24))
    same = all(len(group.support) == shots for group in result.species)
    enrolled = f"enrolled, {'' if same else 'up to '}{shots} photo{'s' * (shots != 1)} each"
    _write(draw, (_LEFT, 60), enrolled, 15, split - _LEFT - _GAP, 1, _FAINT)
    draw.text((split, 60), "held out: the gallery's labels", _FAINT, _font(15))
    for row, (group, predictions) in enumerate(zip(result.species, result.predictions, strict=True)):
        top = _HEADER + row * _ROW
        _write(draw, (_LEFT, top), group.label, 17, split - _LEFT - _GAP, 1, _INK)
        top += 26
        for column, photo in enumerate(group.support):
            image.paste(_make_tile(photo), (_LEFT + column * (_TILE + _GAP), top))
        for column, (photo, prediction) in enumerate(zip(group.query, predictions, strict=True)):
            left, right = split + column * (_TILE + _GAP), split + column * (_TILE + _GAP) + _TILE
            color = _GREEN if prediction.label == group.label else _RED
            draw.rectangle((left - 3, top - 3, right + 2, top + _TILE + 2), fill=color)
            image.paste(_make_tile(photo), (left, top))
            _write(draw, (left, top + _TILE + 4), prediction.label, 11, _TILE, 2, color)
            percent = f"{100 * prediction.probability:.0f} %"
            draw.text((right, top - 18), percent, color, _font(11), anchor="ra")
    return image


def _make_tile(photo: Pixels) -> Image.Image:
    """Return the photo's middle square."""
    return ImageOps.fit(Image.fromarray(photo), (_TILE, _TILE), Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    width: int,
    max_lines: int,
    color: tuple[int, int, int],
) -> None:
    """Write text within a width in pixels: in smaller letters, and truncated only if that is not enough."""
    for points in range(size, _MIN_FONT_SIZE - 1, -1):
        lines = _wrap_text(text, points, width)
        if len(lines) <= max_lines and all(measure_text(line, points) <= width for line in lines):
            break
    else:
        lines = [*lines[: max_lines - 1], " ".join(lines[max_lines - 1 :])]
        lines = [_truncate(line, points, width) for line in lines]
    for row, line in enumerate(lines):
        draw_text(draw, (place[0], place[1] + round(1.2 * points) * row), line, points, color)


def _wrap_text(text: str, size: int, width: float) -> list[str]:
    """Return the text in lines of a width in pixels, as far as its words allow."""
    lines: list[str] = []
    for word in text.split():
        if lines and measure_text(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _truncate(text: str, size: int, width: float) -> str:
    while len(text) > 1 and measure_text(text, size) > width:
        text = text.rstrip("…")[:-1] + "…"
    return text
