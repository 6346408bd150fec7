"""`hmdrn classify`."""

from __future__ import annotations

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
from hmdrn_runtime.credentials import mask_secrets
from hmdrn_runtime.datasets.files import open_files
from hmdrn_runtime.errors import DatasetError, ImageError
from hmdrn_runtime.images.formats import IMAGE_SUFFIXES
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.matching.base import BATCH
from hmdrn_runtime.prediction import Prediction
from hmdrn_runtime.progress import ProgressCallback
from hmdrn_runtime.recognizer import Recognizer

Answer: TypeAlias = Prediction | ImageError
"""Prediction for an image, or the error that made it unreadable."""


@click.command("classify")
@bundle_argument
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=PATH)
@gallery_option
@option("--top", type=click.IntRange(1), default=5, help="Species to show for an image.")
@backend_option
@threads_option
@json_option
def command(
    bundle: str,
    images: tuple[Path, ...],
    gallery: Path,
    top: int,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Name the species on every IMAGE (files, or folders of them) from those of a gallery.

    An image that cannot be read is reported, the others are answered, and the exit code is 2.

    Example: hmdrn classify default a.jpg b.jpg --gallery site7.gallery
    """
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
    if as_json:
        click.echo(format_json([_to_json(*item) for item in named]))
    elif len(errors) < len(answers):
        _show([(image, answer) for image, answer in named if isinstance(answer, Prediction)], top)
    return 2 if errors else 0


def _find_files(image: Path) -> list[tuple[Path, ImageError | None]]:
    """Return the files of an IMAGE argument, or the argument itself with its error."""
    try:
        image = expand_path(image, ImageError)
        if not image.is_dir():
            return [(image, None)]
        _, _, listing = open_files(image)
        photos = sorted(image / name for name in listing.images)
    except (ImageError, DatasetError) as error:
        return [(image, ImageError(str(error)))]
    for note in listing.notes:
        print_message(f"warning: {image}: {note}")
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


def _show(answers: Sequence[tuple[str, Prediction]], top: int) -> None:
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
