"""Contact sheets: photos in titled groups, such as those of an enrollment with their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw

from hmdrn.fonts import draw_text, measure_text
from hmdrn_runtime.enrollment.report import EnrollmentReport, PhotoReport
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.io.files import check_parent_folder, describe_os_error, expand_path

MAX_PHOTOS = 500
"""Photos drawn at most: nobody would look through a longer picture."""
_TILE, _GAP, _COLUMNS, _LINE, _LINES = 126, 12, 8, 14, 3
_TEXT_SIZE = 11
_CELL, _ROW, _HEAD = _TILE + _GAP, _TILE + _GAP + _LINE * _LINES, 34

Color: TypeAlias = tuple[int, int, int]
_BACKGROUND, _INK = (250, 250, 247), (34, 34, 34)
_GOOD, _UNSURE, _DOUBTFUL, _BEST = (46, 125, 50), (239, 108, 0), (198, 40, 40), (21, 101, 192)


def check_sheet_path(path: Path) -> Path:
    """Return the path of a picture to write, with `~` expanded.

    Raises:
        EnrollmentError: Its folder is missing, or its suffix is not one of a picture that can be written.
    """
    path = expand_path(path, EnrollmentError)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp") or path.is_dir():
        raise EnrollmentError(f"cannot draw {path}: give a file that ends with .png, .jpg or .webp")
    check_parent_folder(path, "picture", EnrollmentError)
    return path


@dataclass(frozen=True)
class Tile:
    """A photo of a sheet.

    Attributes:
        image: The photo, in RGB.
        text: A few words below it.
        color: The color of its frame and text.
    """

    image: Image.Image
    text: str
    color: Color = _INK


def draw_contact_sheet(
    reports: Sequence[EnrollmentReport], photos: Sequence[Sequence[PreparedPhoto]], path: Path
) -> None:
    """Draw the species in rows: green frames are good photos, orange to be checked, red bad, blue the best.

    Args:
        reports: Those of the species.
        photos: The photos of each species, in the reports' order.
        path: The picture; at most `MAX_PHOTOS` photos are drawn.

    Raises:
        EnrollmentError: The picture cannot be written.
    """
    groups = [
        (_title(report), [_make_tile(*item) for item in zip(group, report.photos, count(1), strict=False)])
        for report, group in zip(reports, photos, strict=True)
    ]
    draw_tiles(groups, path)


def draw_tiles(groups: Sequence[tuple[str, Sequence[Tile]]], path: Path) -> None:
    """Draw groups of photos, each with a title.

    Args:
        groups: Title and photos; at most `MAX_PHOTOS` photos are drawn, and at least one is there.
        path: The picture.

    Raises:
        EnrollmentError: The picture cannot be written.
    """
    drawn: list[tuple[str, Sequence[Tile]]] = []
    remaining = MAX_PHOTOS
    for title, tiles in groups:
        if remaining and tiles:
            drawn.append((title, tiles[:remaining]))
            remaining -= len(drawn[-1][1])
    columns = min(_COLUMNS, max(len(tiles) for _, tiles in drawn))
    heights = [_HEAD + -(-len(tiles) // _COLUMNS) * _ROW for _, tiles in drawn]
    image = Image.new("RGB", (max(columns, 4) * _CELL + _GAP, sum(heights) + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    top = _GAP
    for (title, tiles), height in zip(drawn, heights, strict=True):
        draw_text(draw, (_GAP, top), title, 15, _INK)
        for i, tile in enumerate(tiles):
            place = (_GAP + i % _COLUMNS * _CELL, top + _HEAD - _GAP + i // _COLUMNS * _ROW)
            _draw_tile(image, draw, place, tile)
        top += height
    try:
        # The format by this name: Pillow 10 takes that of the file which a link leads to.
        image.save(path, Image.registered_extensions()[path.suffix.lower()])
    except OSError as error:
        raise EnrollmentError(f"cannot write picture {path}: {describe_os_error(error)}") from error


def _title(report: EnrollmentReport) -> str:
    if report.nearest is None:
        return report.label
    if (confusion := report.confusion) is not None:
        count = f"{confusion.photos} of {confusion.compared}"
        return f"{report.label}  -  {count} photos look like {confusion.label}"
    share = f"{100 * report.nearest.separability:.0f} %"
    return f"{report.label}  -  most like {report.nearest.label}, {share} of photos recognized"


def choose_color(report: PhotoReport) -> tuple[int, int, int]:
    """Return the color of a photo's frame, by its verdict."""
    if report.issues:
        return _DOUBTFUL
    if report.fit is not None and report.fit < 0:
        return _UNSURE
    return _BEST if report.most_useful else _GOOD


def choose_verdict_color(verdict: str) -> Color:
    """Return the color of a stored verdict; that of plain text without one."""
    if verdict.startswith("please check"):
        return _UNSURE
    return {"": _INK, "good": _GOOD, "most useful photo": _BEST}.get(verdict, _DOUBTFUL)


def _make_tile(photo: PreparedPhoto, report: PhotoReport, number: int) -> Tile:
    color = choose_color(report)
    return Tile(Image.fromarray(photo.pixels), f"{number}. {report.verdict}", color)


def _draw_tile(image: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], tile: Tile) -> None:
    x, y = place
    draw.rectangle((x - 3, y - 3, x + _TILE + 2, y + _TILE + 2), fill=tile.color)
    image.paste(tile.image.resize((_TILE, _TILE), Image.Resampling.LANCZOS), (x, y))
    lines = [""]
    for word in tile.text.split():
        longer = f"{lines[-1]} {word}".strip()
        if measure_text(longer, _TEXT_SIZE) <= _TILE:
            lines[-1] = longer
        else:
            lines.append(word)
    for row, line in enumerate(lines[:_LINES]):
        draw_text(draw, (x, y + _TILE + 5 + row * _LINE), line, _TEXT_SIZE, tile.color)
