"""`hmdrn enroll`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from hmdrn.cli.common import bundle_argument, json_option, print_json, print_table, progress, threads_option
from hmdrn.cli.messages import tell
from hmdrn.loading import load
from hmdrn_runtime.datasets import Photo, open_species
from hmdrn_runtime.errors import DatasetError, EnrollmentError, ImageError
from hmdrn_runtime.files import user_path
from hmdrn_runtime.gallery_file import check_gallery_place
from hmdrn_runtime.images import ImageSource
from hmdrn_runtime.prediction import EnrollmentReport


@click.command("enroll")
@bundle_argument
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--gallery",
    "-g",
    required=True,
    type=click.Path(path_type=Path),
    help="Gallery file to add to; made if missing.",
)
@click.option(
    "--skip-unreadable",
    is_flag=True,
    help="Leave out photos that cannot be used instead of stopping; every species must keep one at least.",
)
@click.option(
    "--keep-thumbnails",
    is_flag=True,
    help="Keep the photos too, small (84 x 84, 21 KB each): with them the gallery can go to another model.",
)
@threads_option
@json_option
def command(
    bundle: str,
    folder: Path,
    gallery: Path,
    skip_unreadable: bool,
    keep_thumbnails: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Enroll species from FOLDER: in it, a folder of 1 to 10 photos for every species (or a zip of such).

    A folder's name is its species' label. Photos are added to species that the gallery has already.
    Either all of FOLDER is enrolled, or nothing. Several processes may enroll into one gallery at once.

    Example: hmdrn enroll default species/ --gallery site7.gallery
    """
    gallery, folder = check_gallery_place(gallery), user_path(folder, DatasetError)
    recognizer = load(
        bundle, gallery if gallery.exists() else None, threads=threads, keep_thumbnails=keep_thumbnails
    )
    dataset = open_species(folder)
    if dataset.empty:
        # A mistake that nobody would notice later.
        raise EnrollmentError(
            f"no photo in {', '.join(map(repr, dataset.empty))} of {folder}: add one, or remove the folder"
        )
    mode = recognizer.bundle.manifest.input.preprocessing
    reports: list[EnrollmentReport] = []
    skipped: list[dict[str, str]] = []
    with progress() as report:
        for done, (label, photos) in enumerate(dataset.classes.items()):
            report(f"enrolling {label}", done, len(dataset.classes))
            usable = _prepared(photos, mode, skipped if skip_unreadable else None)
            if not usable:
                raise EnrollmentError(f"{label!r} has no readable photo: add one, or remove the folder")
            reports.append(recognizer.enroll(label, usable))
    recognizer.save_gallery(gallery)
    for entry in skipped:
        tell(f"left out: {entry['reason']}")
    _warn(reports)
    if as_json:
        species = [
            {
                "label": r.label,
                "added": len(r.added),
                "duplicates": len(r.duplicates),
                "shots": r.shots,
                "also_in": r.also_in,
                "similar": r.similar,
            }
            for r in reports
        ]
        print_json("enroll", {"gallery": str(gallery), "species": species, "skipped": skipped})
        return
    rows = [[r.label, str(len(r.added)), str(len(r.duplicates)), str(r.shots)] for r in reports]
    print_table(
        f"{len(recognizer.gallery)} species in {gallery}",
        ["species", "added", "known already", "photos now"],
        rows,
    )


def _warn(reports: Iterable[EnrollmentReport]) -> None:
    """Of what is allowed and hardly meant."""
    for r in reports:
        for other in r.also_in:
            tell(f"warning: {r.label!r} and {other!r} hold the same photo: enroll it for one of them only")
        for other in r.similar:
            tell(f"warning: {r.label!r} and {other!r} count as two species: use one name if they are one")


def _prepared(photos: Iterable[Photo], mode: str, skipped: list[dict[str, str]] | None) -> list[ImageSource]:
    """The network inputs of the photos; where `skipped` is given, it takes in those that cannot be used."""
    usable: list[ImageSource] = []
    for photo in photos:
        try:
            usable.append(photo.prepare(mode))
        except (ImageError, DatasetError) as error:
            if skipped is None:
                raise type(error)(f"{error}; --skip-unreadable leaves such photos out") from error
            skipped.append({"photo": photo.name, "reason": str(error)})
    return usable
