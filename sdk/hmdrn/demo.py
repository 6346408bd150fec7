"""The demonstration: enroll a few species, name photos that were held out, draw what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hmdrn_runtime.datasets.dataset import Dataset
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.prediction import Prediction
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import species_name

SPECIES = 5
SHOTS = 5
HELD_OUT = 6
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of the pictures that can be drawn."""
_DRAWN_SIZE = 160

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Group:
    """A species of the demonstration: its name, the photos to enroll and those held out."""

    label: str
    support: tuple[Pixels, ...]
    query: tuple[Pixels, ...]


@dataclass(frozen=True)
class Demonstration:
    """What came of it.

    Attributes:
        groups: The species.
        answers: For every species the predictions for its held-out photos.
        milliseconds: Median time of one classification, from pixels to prediction.
    """

    groups: tuple[Group, ...]
    answers: tuple[tuple[Prediction, ...], ...]
    milliseconds: float

    @property
    def total(self) -> int:
        """Number of held-out photos."""
        return sum(len(group.query) for group in self.groups)

    @property
    def right(self) -> int:
        """How many of them were named rightly."""
        return sum(a.label == g.label for g, row in zip(self.groups, self.answers, strict=True) for a in row)


def drawn_groups(seed: int) -> tuple[Group, ...]:
    """Five look-alike species of drawn butterflies; another seed picks other ones.

    Args:
        seed: 0 or more.
    """
    species = sorted(np.random.default_rng(seed).choice(1000, size=SPECIES, replace=False).tolist())
    drawn = draw_specimens(species, SHOTS + HELD_OUT, size=_DRAWN_SIZE, seed=seed)
    return tuple(
        Group(species_name(s), tuple(images[:SHOTS]), tuple(images[SHOTS:]))
        for s, images in zip(species, drawn, strict=True)
    )


def photo_groups(dataset: Dataset, seed: int) -> tuple[Group, ...]:
    """Up to five classes of photographs, at most half of a class's photos enrolled.

    Args:
        dataset: Photographs by class.
        seed: Which classes and photos are taken depends on it; 0 or more.

    Raises:
        DatasetError: Fewer than two classes with two photos.
        ImageError: A photo that cannot be read.
    """
    rng = np.random.default_rng(seed)
    usable = [label for label, photos in dataset.classes.items() if len(photos) >= 2]
    if len(usable) < 2:
        raise DatasetError(
            f"{dataset.source} has {len(usable)} classes with 2 photos or more: the demonstration "
            "takes at least 2 such classes, a folder for each"
        )
    groups = []
    for label in sorted(rng.choice(usable, size=min(SPECIES, len(usable)), replace=False).tolist()):
        photos = dataset.classes[label]
        shots = min(SHOTS, len(photos) // 2)
        order = rng.permutation(len(photos))[: shots + HELD_OUT]
        images = tuple(np.asarray(photos[i].load()) for i in order)
        groups.append(Group(label, images[:shots], images[shots:]))
    return tuple(groups)


def demonstrate(recognizer: Recognizer, groups: tuple[Group, ...]) -> Demonstration:
    """Enroll the groups' species and classify what they hold out."""
    for group in groups:
        recognizer.enroll(group.label, group.support)
    recognizer.classify_batch([groups[0].query[0]])  # the first call loads the graph
    times: list[float] = []

    def classify(image: Pixels) -> Prediction:
        start = time.perf_counter()
        answer = recognizer.classify_batch([image])[0]
        times.append(time.perf_counter() - start)
        return answer

    answers = tuple(tuple(classify(image) for image in group.query) for group in groups)
    return Demonstration(groups, answers, 1000 * float(np.median(times)))


_TILE = 104
_GAP = 8
_LEFT = 20
_HEADER = 92
_ROW = _TILE + 58
_BACKGROUND, _INK, _FAINT = (250, 250, 247), (34, 34, 34), (118, 118, 112)
_SMALLEST = 8
_RIGHT, _WRONG = (46, 125, 50), (198, 40, 40)


def draw_result(result: Demonstration) -> Image.Image:
    """The picture: a row for every species, enrolled photos on the left, named ones framed on the right."""
    shots = max(len(group.support) for group in result.groups)
    queries = max(len(group.query) for group in result.groups)
    split = _LEFT + shots * (_TILE + _GAP) + 3 * _GAP
    width = split + queries * (_TILE + _GAP) + _LEFT
    image = Image.new("RGB", (width, _HEADER + len(result.groups) * _ROW + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    title = (
        f"{result.right} of {result.total} held-out photos named rightly, {result.milliseconds:.1f} ms each"
    )
    draw.text((_LEFT, 14), title, _INK, _font(24))
    same = all(len(group.support) == shots for group in result.groups)
    enrolled = f"enrolled, {'' if same else 'up to '}{shots} photo{'s' * (shots != 1)} each"
    _write(draw, (_LEFT, 60), enrolled, 15, split - _LEFT - _GAP, 1, _FAINT)
    draw.text((split, 60), "held out: what the gallery says", _FAINT, _font(15))
    for row, (group, answers) in enumerate(zip(result.groups, result.answers, strict=True)):
        top = _HEADER + row * _ROW
        _write(draw, (_LEFT, top), group.label, 17, split - _LEFT - _GAP, 1, _INK)
        top += 26
        for column, photo in enumerate(group.support):
            image.paste(_tile(photo), (_LEFT + column * (_TILE + _GAP), top))
        for column, (photo, answer) in enumerate(zip(group.query, answers, strict=True)):
            left = split + column * (_TILE + _GAP)
            colour = _RIGHT if answer.label == group.label else _WRONG
            draw.rectangle((left - 3, top - 3, left + _TILE + 2, top + _TILE + 2), fill=colour)
            image.paste(_tile(photo), (left, top))
            _write(draw, (left, top + _TILE + 4), answer.label, 11, _TILE, 2, colour)
            draw.text(
                (left + _TILE, top - 18), f"{100 * answer.probability:.0f} %", colour, _font(11), anchor="ra"
            )
    return image


def summary_rows(result: Demonstration) -> Iterator[list[str]]:
    """For every species: name, photos enrolled, held-out photos named rightly, what else they were called."""
    for group, answers in zip(result.groups, result.answers, strict=True):
        others = sorted({a.label for a in answers if a.label != group.label})
        right = sum(a.label == group.label for a in answers)
        yield [group.label, str(len(group.support)), f"{right} of {len(answers)}", ", ".join(others) or "-"]


def _tile(photo: Pixels) -> Image.Image:
    """The photo's middle square."""
    image = Image.fromarray(photo)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((_TILE, _TILE), Image.Resampling.LANCZOS)


_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    width: int,
    lines: int,
    colour: tuple[int, int, int],
) -> None:
    """Text within a width in pixels and some lines: in smaller letters, and cut only if that does not do."""
    for points in range(size, _SMALLEST - 1, -1):
        font = _font(points)
        wrapped = _wrapped(text, font, width)
        if len(wrapped) <= lines and all(font.getlength(line) <= width for line in wrapped):
            break
    else:
        wrapped = [
            _cut(line, font, width) for line in [*wrapped[: lines - 1], " ".join(wrapped[lines - 1 :])]
        ]
    draw.multiline_text(place, "\n".join(wrapped), colour, font, spacing=1)


def _wrapped(text: str, font: _Font, width: float) -> list[str]:
    """The text in lines of a width in pixels, as far as its words allow."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _cut(text: str, font: _Font, width: float) -> str:
    """The text, cut to a width in pixels."""
    while len(text) > 1 and font.getlength(text) > width:
        text = text.rstrip("…")[:-1] + "…"
    return text
