"""`hmdrn classify`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
import numpy.typing as npt

from hmdrn.cli.messages import print_message
from hmdrn.cli.options import (
    backend_option,
    bundle_argument,
    json_option,
    print_table,
    progress,
    threads_option,
    versioned,
)
from hmdrn.loading import load
from hmdrn_runtime.datasets.dataset import IMAGE_SUFFIXES
from hmdrn_runtime.datasets.files import photos_below
from hmdrn_runtime.errors import DatasetError, ImageError
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.io.files import user_path
from hmdrn_runtime.migration import move_of
from hmdrn_runtime.prediction import Prediction
from hmdrn_runtime.recognizer import BATCH, Recognizer

Answer: TypeAlias = Prediction | ImageError
"""Of one image: what it shows, or why it cannot be read."""


@click.command("classify")
@bundle_argument
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path))
@click.option(
    "--gallery", "-g", required=True, type=click.Path(path_type=Path), help="Gallery file of the species."
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Species to show for an image.",
)
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
    recognizer = load(bundle, gallery, backend, threads)
    move = move_of(recognizer.gallery, recognizer.bundle)
    if move is not None:
        print_message(f"note: {move}")
    if recognizer.calibration_doubt is not None:
        print_message(f"warning: {recognizer.calibration_doubt}")
    files = [file for image in images for file in _files(image)]
    with progress() as report:
        answers = _answers(recognizer, files, top, report)
    bad = [answer for answer in answers if isinstance(answer, ImageError)]
    for error in bad:
        print_message(str(error))
    if len(recognizer.gallery) == 1 and len(bad) < len(answers):
        print_message(
            "note: the gallery has one species, so every photo gets its name: enroll others to tell it from"
        )
    shown = [(str(path), answer) for (path, _), answer in zip(files, answers, strict=True)]
    if as_json:
        click.echo(json.dumps([_entry(*one) for one in shown], indent=2, ensure_ascii=False))
    elif len(bad) < len(answers):
        _show([(image, answer) for image, answer in shown if isinstance(answer, Prediction)], top)
    return 2 if bad else 0


def _files(image: Path) -> list[tuple[Path, ImageError | None]]:
    """The files that an IMAGE stands for, or IMAGE itself with what is wrong with it."""
    try:
        image = user_path(image, ImageError)
        if not image.is_dir():
            return [(image, None)]
        found = photos_below(image)
    except ImageError as error:
        return [(image, error)]
    except DatasetError as error:
        return [(image, ImageError(str(error)))]
    if not found:
        return [(image, ImageError(f"{image} holds no image ({', '.join(IMAGE_SUFFIXES)}): check the path"))]
    return [(file, None) for file in found]


def _answers(
    recognizer: Recognizer,
    files: Sequence[tuple[Path, ImageError | None]],
    top: int,
    report: Callable[[str, int, int], None],
) -> list[Answer]:
    """What each file shows, or why it cannot be read: one bad file costs the others nothing."""
    mode = recognizer.bundle.manifest.input.preprocessing
    answers: list[Answer] = []
    for start in range(0, len(files), BATCH):
        batch = [error or _prepared(path, mode) for path, error in files[start : start + BATCH]]
        pixels = [photo for photo in batch if not isinstance(photo, ImageError)]
        named = iter(recognizer.classify_batch(pixels, top=top))
        answers += [photo if isinstance(photo, ImageError) else next(named) for photo in batch]
        report("classifying", len(answers), len(files))
    return answers


def _prepared(path: Path, mode: str) -> npt.NDArray[np.uint8] | ImageError:
    try:
        return prepare_query(path, mode)
    except ImageError as error:
        return error


def _entry(image: str, answer: Answer) -> dict[str, Any]:
    found = {"error": str(answer)} if isinstance(answer, ImageError) else answer.to_dict()
    return versioned("classify", {"image": image, **found})


def _show(answers: Sequence[tuple[str, Prediction]], top: int) -> None:
    columns = ["image", "species", "probability"]
    calibrated = any(answer.known is not None for _, answer in answers)
    if calibrated:
        columns.append("known")
    if top > 1:
        columns.append("next")
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
