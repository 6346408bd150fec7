"""Contact sheet of an enrollment: all photos with their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from hmdrn_runtime.enrollment.report import EnrollmentReport, PhotoReport
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.io.files import check_parent_folder, describe_os_error, expand_path

MAX_PHOTOS = 500
"""Photos drawn at most: nobody would look through a longer picture."""
_TILE, _GAP, _COLUMNS, _LINE, _LINES = 126, 12, 8, 14, 3
_CELL, _ROW, _HEAD = _TILE + _GAP, _TILE + _GAP + _LINE * _LINES, 34
_BACKGROUND, _INK = (250, 250, 247), (34, 34, 34)
_GOOD, _DOUBTFUL, _BEST = (46, 125, 50), (198, 40, 40), (21, 101, 192)


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


def draw_contact_sheet(
    reports: Sequence[EnrollmentReport], photos: Sequence[Sequence[PreparedPhoto]], path: Path
) -> None:
    """Draw the species in rows: green frames are good photos, red ones doubtful, blue the best.

    Args:
        reports: Those of the species.
        photos: The photos of each species, in the reports' order.
        path: The picture; at most `MAX_PHOTOS` photos are drawn.

    Raises:
        EnrollmentError: The picture cannot be written.
    """
    groups: list[tuple[EnrollmentReport, Sequence[PreparedPhoto]]] = []
    remaining = MAX_PHOTOS
    for report, group in zip(reports, photos, strict=True):
        if remaining and group:
            groups.append((report, group[:remaining]))
            remaining -= len(groups[-1][1])
    columns = min(_COLUMNS, max(len(group) for _, group in groups))
    heights = [_HEAD + -(-len(group) // _COLUMNS) * _ROW for _, group in groups]
    image = Image.new("RGB", (max(columns, 4) * _CELL + _GAP, sum(heights) + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    top = _GAP
    for (report, group), height in zip(groups, heights, strict=True):
        draw.text((_GAP, top), _title(report), _INK, ImageFont.load_default(15))
        for i, (photo, verdict) in enumerate(zip(group, report.photos, strict=False)):
            place = (_GAP + i % _COLUMNS * _CELL, top + _HEAD - _GAP + i // _COLUMNS * _ROW)
            _draw_photo(image, draw, place, photo, verdict, i + 1)
        top += height
    try:
        image.save(path)
    except OSError as error:
        raise EnrollmentError(f"cannot write picture {path}: {describe_os_error(error)}") from error


def _title(report: EnrollmentReport) -> str:
    if report.nearest is None:
        return report.label
    if (confusion := report.confusion) is not None:
        count = f"{confusion.photos} of {confusion.compared}"
        return f"{report.label}  -  {count} photos are nearer to {confusion.label}"
    share = f"{100 * report.nearest.separability:.0f} %"
    return f"{report.label}  -  most like {report.nearest.label}, {share} of photos nearer to their own"


def _draw_photo(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    photo: PreparedPhoto,
    report: PhotoReport,
    number: int,
) -> None:
    x, y = place
    color = _DOUBTFUL if report.issues or report.nearer_to else _BEST if report.most_useful else _GOOD
    draw.rectangle((x - 3, y - 3, x + _TILE + 2, y + _TILE + 2), fill=color)
    image.paste(Image.fromarray(photo.pixels).resize((_TILE, _TILE), Image.Resampling.LANCZOS), (x, y))
    font = ImageFont.load_default(11)
    lines = [""]
    for word in f"{number}. {report.verdict}".split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= _TILE:
            lines[-1] = longer
        else:
            lines.append(word)
    draw.multiline_text((x, y + _TILE + 5), "\n".join(lines[:_LINES]), color, font, spacing=2)
