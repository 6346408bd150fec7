"""`hmdrn classify`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
import numpy.typing as npt

from hmdrn.cli.gallery_notes import SINGLE_SPECIES, load_with_notes
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import (
    PATH,
    backend_option,
    bundle_argument,
    gallery_option,
    json_option,
    option,
    threads_option,
)
from hmdrn.cli.output import format_json, print_table, progress, with_schema
from hmdrn.cli.output_paths import check_output_path
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.credentials import mask_secrets
from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.errors import DatasetError, HmdrnError, ImageError
from hmdrn_runtime.images.formats import IMAGE_SUFFIXES
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.io.files import describe_os_error, expand_path, write_atomically
from hmdrn_runtime.matching.base import BATCH
from hmdrn_runtime.progress import ProgressCallback
from hmdrn_runtime.recognizer import Recognizer

RANKING = 5
"""Species of a ranking, by default."""
CSV_COLUMNS = ("image", "species", "probability", "margin", "known", "error")
_KNOWN = {True: "known", False: "unknown", None: ""}

Answer: TypeAlias = Prediction | ImageError
"""Prediction for an image, or the error that made it unreadable."""


@click.command("classify")
@bundle_argument
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=PATH)
@gallery_option
@option(
    "--ranking",
    "--top",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=str(RANKING),
    metavar="[N]",
    help=f"Show the best N species of each image ({RANKING} without N); JSON has {RANKING} by default.",
)
@option("--csv", "csv_file", type=PATH, help="Write a row for each image into this file (.csv).")
@backend_option
@threads_option
@json_option
def command(
    bundle: str,
    images: tuple[Path, ...],
    gallery: Path,
    ranking: int | None,
    csv_file: Path | None,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Name the species on every IMAGE (files, or folders of them) from those of a gallery.

    Prints a line for each: image, species, probability, and with a calibrated gallery known or unknown.
    An image that cannot be read is reported, the others are answered, and the exit code is 2.

    Example: hmdrn classify default a.jpg b.jpg --gallery site7.gallery
    """
    if csv_file is not None:
        csv_file = check_output_path(csv_file, "table", [gallery, *images], (".csv",))
    top = ranking or RANKING
    recognizer = load_with_notes(bundle, gallery, backend, threads)
    files = [file for image in images for file in _find_files(image)]
    with progress() as report:
        answers = _classify(recognizer, files, top, report)
    errors = [answer for answer in answers if isinstance(answer, ImageError)]
    for error in errors:
        print_message(str(error))
    if len(recognizer.gallery) == 1 and len(errors) < len(answers):
        print_message(SINGLE_SPECIES)
    named = [(str(path), answer) for (path, _), answer in zip(files, answers, strict=True)]
    if csv_file is not None:
        _write_csv(named, csv_file)
    predictions = [(image, answer) for image, answer in named if isinstance(answer, Prediction)]
    if as_json:
        click.echo(format_json([_to_json(*item) for item in named]))
    elif ranking is not None and predictions:
        _show_ranking(predictions, ranking)
    else:
        _show(predictions)
    return 2 if errors else 0


def _find_files(image: Path) -> list[tuple[Path, ImageError | None]]:
    """Return the files of an IMAGE argument, or the argument itself with its error."""
    try:
        image = expand_path(image, ImageError)
        if not image.is_dir():
            return [(image, None)]
        photos = find_photos(image)
    except (ImageError, DatasetError) as error:
        return [(image, ImageError(str(error)))]
    if not photos:
        return [(image, ImageError(f"{image} holds no image ({', '.join(IMAGE_SUFFIXES)}): check the path"))]
    return [(photo, None) for photo in photos]


def _classify(
    recognizer: Recognizer,
    files: Sequence[tuple[Path, ImageError | None]],
    top: int,
    report: ProgressCallback,
) -> list[Answer]:
    preprocessing = recognizer.preprocessing
    answers: list[Answer] = []
    for start in range(0, len(files), BATCH):
        batch = [error or _prepare(path, preprocessing) for path, error in files[start : start + BATCH]]
        pixels = [photo for photo in batch if not isinstance(photo, ImageError)]
        predictions = iter(recognizer.classify_batch(pixels, top=top))
        answers += [photo if isinstance(photo, ImageError) else next(predictions) for photo in batch]
        report("classifying", len(answers), len(files))
    return answers


def _prepare(path: Path, preprocessing: Preprocessing) -> npt.NDArray[np.uint8] | ImageError:
    try:
        return prepare_query(path, preprocessing)
    except ImageError as error:
        return error


def _to_json(image: str, answer: Answer) -> dict[str, Any]:
    if isinstance(answer, ImageError):
        shown = image if os.path.exists(image) else mask_secrets(image)  # noqa: PTH110 (any text is valid)
        return with_schema("classify", {"image": shown, "error": str(answer)})
    return with_schema("classify", {"image": image, **answer.to_dict()})


def _show(answers: Sequence[tuple[str, Prediction]]) -> None:
    """Print a line for each image, its columns aligned."""
    rows = [
        [
            image if image.isprintable() else repr(image),
            *(answer.label, f"{100 * answer.probability:.1f} %", _KNOWN[answer.known]),
        ]
        for image, answer in answers
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, second, share, known = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo(f"{first}  {second}  {share.strip():>7}  {known}".rstrip())


def _write_csv(answers: Sequence[tuple[str, Answer]], path: Path) -> None:
    """Write a row for each image."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for image, answer in answers:
        if isinstance(answer, ImageError):
            writer.writerow([image, *[""] * (len(CSV_COLUMNS) - 2), str(answer)])
        else:
            numbers = (f"{answer.probability:.4f}", f"{answer.margin:.4f}")
            writer.writerow([image, answer.label, *numbers, _KNOWN[answer.known], ""])
    try:
        write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise HmdrnError(f"cannot write table {path}: {describe_os_error(error)}") from error


def _show_ranking(answers: Sequence[tuple[str, Prediction]], top: int) -> None:
    calibrated = any(answer.known is not None for _, answer in answers)
    columns = ["image", "species", "probability", *["known"] * calibrated, *["next"] * (top > 1)]
    rows = []
    for image, answer in answers:
        row = [image, answer.label, f"{100 * answer.probability:.1f} %"]
        if calibrated:
            row.append({True: "yes", False: "no", None: "-"}[answer.known])
        if top > 1:
            others = [f"{match.label} ({100 * match.probability:.1f} %)" for match in answer.ranking[1:]]
            row.append("\n".join(others) or "-")
        rows.append(row)
    print_table("", columns, rows)
