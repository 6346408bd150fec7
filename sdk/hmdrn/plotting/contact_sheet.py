"""All photos of an enrollment at a glance, each with its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from hmdrn_runtime.enrollment.leave_one_out import PhotoReport
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.io.files import check_folder_of, reason, user_path

MOST = 500
"""Photos drawn at most: further ones would make a picture that nobody looks through."""
_TILE, _GAP, _COLUMNS, _LINE, _LINES = 126, 12, 8, 14, 3
_HEAD = 34
_BACKGROUND, _INK, _FAINT = (250, 250, 247), (34, 34, 34), (118, 118, 112)
_GOOD, _DOUBTFUL, _BEST = (46, 125, 50), (198, 40, 40), (21, 101, 192)


def check_sheet_place(path: Path) -> Path:
    """The path of a picture to write, with `~` expanded; to be asked before the work.

    Raises:
        EnrollmentError: Its folder is missing, or its suffix is none of a picture that can be written.
    """
    path = user_path(path, EnrollmentError)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp") or path.is_dir():
        raise EnrollmentError(f"cannot draw {path}: give a file that ends with .png, .jpg or .webp")
    check_folder_of(path, "picture", EnrollmentError)
    return path


def draw_sheet(
    reports: Sequence[EnrollmentReport], seen: Sequence[Sequence[PreparedPhoto]], path: Path
) -> None:
    """Draw a row or more for every species: green frames are good photos, red ones doubtful, blue the best.

    Args:
        reports: Of the species.
        seen: Their photos, in the reports' order.
        path: The picture; at most `MOST` photos are drawn.

    Raises:
        EnrollmentError: The picture cannot be written.
    """
    groups: list[tuple[EnrollmentReport, Sequence[PreparedPhoto]]] = []
    left = MOST
    for report, photos in zip(reports, seen, strict=True):
        groups.append((report, photos[:left]))
        left -= len(photos[:left])
    cell = _TILE + _GAP
    row = cell + _LINES * _LINE
    widest = min(_COLUMNS, max(len(photos) for _, photos in groups))
    heights = [_HEAD + -(-len(photos) // _COLUMNS) * row for _, photos in groups if photos]
    image = Image.new("RGB", (max(widest, 4) * cell + _GAP, sum(heights) + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    top = _GAP
    for report, photos in groups:
        if not photos:
            continue
        draw.text((_GAP, top), _title(report), _INK, ImageFont.load_default(15))
        top += _HEAD - _GAP
        for i, (sight, photo) in enumerate(zip(photos, report.photos, strict=False)):
            place = (_GAP + i % _COLUMNS * cell, top + i // _COLUMNS * row)
            _draw_photo(image, draw, place, sight, photo, i + 1)
        top += -(-len(photos) // _COLUMNS) * row + _GAP
    try:
        image.save(path)
    except OSError as error:
        raise EnrollmentError(f"cannot write picture {path}: {reason(error)}") from error


def _title(report: EnrollmentReport) -> str:
    if report.nearest is None:
        return report.label
    found = report.confusion
    if found is not None:
        return f"{report.label}  -  {found.photos} of {found.of} photos are nearer to {found.label}"
    share = f"{100 * report.nearest.separability:.0f} %"
    return f"{report.label}  -  most like {report.nearest.label}, {share} of photos told apart"


def _draw_photo(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    sight: PreparedPhoto,
    photo: PhotoReport,
    number: int,
) -> None:
    x, y = place
    colour = _DOUBTFUL if photo.doubts or photo.nearer_to else _BEST if photo.most_useful else _GOOD
    draw.rectangle((x - 3, y - 3, x + _TILE + 2, y + _TILE + 2), fill=colour)
    image.paste(Image.fromarray(sight.pixels).resize((_TILE, _TILE), Image.Resampling.LANCZOS), (x, y))
    font = ImageFont.load_default(11)
    lines = [""]
    for word in f"{number}. {photo.verdict}".split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= _TILE:
            lines[-1] = longer
        else:
            lines.append(word)
    draw.multiline_text((x, y + _TILE + 5), "\n".join(lines[:_LINES]), colour, font, spacing=2)
