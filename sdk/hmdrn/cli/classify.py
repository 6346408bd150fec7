"""`hmdrn classify`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hmdrn.cli.common import bundle_argument, json_option, print_table, progress, threads_option, versioned
from hmdrn.loading import load
from hmdrn_runtime.datasets import IMAGE_SUFFIXES
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.files import user_path
from hmdrn_runtime.prediction import Prediction
from hmdrn_runtime.recognizer import BATCH


@click.command("classify")
@bundle_argument
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path))
@click.option(
    "--gallery", "-g", required=True, type=click.Path(path_type=Path), help="Gallery file of the species."
)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Species in a ranking.")
@threads_option
@json_option
def command(
    bundle: str, images: tuple[Path, ...], gallery: Path, top: int, threads: int | None, as_json: bool
) -> None:
    """Name the species on every IMAGE (files, or folders of them) from those of a gallery.

    Example: hmdrn classify default a.jpg b.jpg --gallery site7.gallery
    """
    recognizer = load(bundle, gallery, threads=threads)
    files = [file for image in images for file in _files(image)]
    answers: list[Prediction] = []
    with progress() as report:
        for start in range(0, len(files), BATCH):
            answers += recognizer.classify_batch(files[start : start + BATCH], top=top)
            report("classifying", len(answers), len(files))
    if as_json:
        entries = [
            versioned("classify", {"image": str(f), **a.to_dict()})
            for f, a in zip(files, answers, strict=True)
        ]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    rows = [
        [
            str(file),
            answer.label,
            f"{100 * answer.probability:.1f} %",
            f"{answer.ranking[1].label} ({100 * answer.ranking[1].probability:.1f} %)"
            if len(answer.ranking) > 1
            else "-",
        ]
        for file, answer in zip(files, answers, strict=True)
    ]
    print_table("", ["image", "species", "probability", "next"], rows)


def _files(image: Path) -> list[Path]:
    image = user_path(image, ImageError)
    if not image.is_dir():
        return [image]
    found = sorted(p for p in image.rglob("*") if _is_photo(p))
    if not found:
        raise ImageError(f"{image} holds no image ({', '.join(IMAGE_SUFFIXES)}): check the path")
    return found


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
