"""`hmdrn enroll`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.common import bundle_argument, json_option, print_json, print_table, progress, threads_option
from hmdrn.loading import load
from hmdrn_runtime.datasets import open_dataset
from hmdrn_runtime.errors import DatasetError, EnrollmentError, GalleryError, ImageError
from hmdrn_runtime.files import user_path
from hmdrn_runtime.gallery_file import save_gallery
from hmdrn_runtime.images import ImageSource


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
    "--skip-unreadable", is_flag=True, help="Leave out photos that cannot be used instead of stopping."
)
@threads_option
@json_option
def command(
    bundle: str, folder: Path, gallery: Path, skip_unreadable: bool, threads: int | None, as_json: bool
) -> None:
    """Enroll species from FOLDER: in it, a folder of 1 to 10 photos for every species (or a zip of such).

    Photos are added to species that the gallery has already. Either all of FOLDER is enrolled, or nothing.

    Example: hmdrn enroll default species/ --gallery site7.gallery
    """
    gallery, folder = user_path(gallery, GalleryError), user_path(folder, DatasetError)
    recognizer = load(bundle, gallery if gallery.exists() else None, threads=threads)
    dataset = open_dataset(folder)
    if dataset.split is not None:
        raise DatasetError(
            f"{folder} has folders within the species' folders, or splits: give the folder of one split"
        )
    if dataset.empty:
        # A mistake that nobody would notice later.
        raise EnrollmentError(
            f"no photo in {', '.join(map(repr, dataset.empty))} of {folder}: add one, or remove the folder"
        )
    mode = recognizer.bundle.manifest.input.preprocessing
    reports, skipped = [], []
    with progress() as report:
        for done, (label, photos) in enumerate(dataset.classes.items()):
            report(f"enrolling {label}", done, len(dataset.classes))
            usable: list[ImageSource] = []
            for photo in photos:
                try:
                    usable.append(photo.prepare(mode))
                except ImageError as error:
                    if not skip_unreadable:
                        raise
                    skipped.append({"photo": photo.name, "reason": str(error)})
            if not usable:
                raise EnrollmentError(f"{label!r} has no readable photo: add one, or remove the folder")
            reports.append(recognizer.enroll(label, usable))
    save_gallery(recognizer.gallery, gallery)
    if as_json:
        species = [
            {"label": r.label, "added": len(r.added), "duplicates": len(r.duplicates), "shots": r.shots}
            for r in reports
        ]
        print_json("enroll", {"gallery": str(gallery), "species": species, "skipped": skipped})
        return
    for entry in skipped:
        click.echo(f"left out {entry['photo']}: {entry['reason']}", err=True)
    rows = [[r.label, str(len(r.added)), str(len(r.duplicates)), str(r.shots)] for r in reports]
    print_table(
        f"{len(recognizer.gallery)} species in {gallery}",
        ["species", "added", "known already", "photos now"],
        rows,
    )
