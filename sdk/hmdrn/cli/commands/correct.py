"""`hmdrn correct`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.gallery_notes import warn_of_lookalikes
from hmdrn.cli.options import PATH, backend_option, json_option, option, threads_option
from hmdrn.cli.output import print_json
from hmdrn.loading import DEFAULT, load
from hmdrn.open_set import recalibrate_threshold
from hmdrn_runtime.enrollment.correction import PhotoCorrection
from hmdrn_runtime.errors import GalleryError, ImageError
from hmdrn_runtime.io.files import expand_path


@click.command("correct")
@click.argument("gallery", metavar="GALLERY", type=PATH)
@click.argument("image", metavar="IMAGE", type=PATH)
@option(
    "--is", "species", metavar="SPECIES", required=True, help="The species that IMAGE shows, new or known."
)
@option("--bundle", "-b", metavar="BUNDLE", default=DEFAULT, help="The bundle that GALLERY is used with.")
@option("--no-file-names", is_flag=True, help="Do not keep the name of IMAGE in GALLERY.")
@backend_option
@threads_option
@json_option
def command(
    gallery: Path,
    image: Path,
    species: str,
    bundle: str,
    no_file_names: bool,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Enroll IMAGE under its right species; if it was enrolled under another, it is moved.

    Says how the expected accuracy of the gallery changes. A calibrated gallery is calibrated anew.

    Example: hmdrn correct site7.gallery a.jpg --is "Laysan Albatross"
    """
    gallery, image = expand_path(gallery, GalleryError), expand_path(image, ImageError)
    recognizer = load(bundle, gallery, backend, threads, keep_file_names=not no_file_names)
    members = recognizer.gallery.species.values()
    recognizer.matcher.keep_thumbnails = any(p.thumbnail for s in members for p in s.photos.values())
    correction = recognizer.correct(image, species)

    def recalibrate() -> None:
        if correction.changed:
            recalibrate_threshold(recognizer)

    recognizer.save_gallery(gallery, recalibrate)
    warn_of_lookalikes(correction.label, correction.enrollment.similar)
    if as_json:
        print_json("correct", {"gallery": str(gallery), "image": str(image), **correction.to_dict()})
        return
    click.echo(f"{image} {_describe(correction)}; {correction.label} has {_count(correction)} now")
    (photo,) = correction.enrollment.photos
    click.echo(f"verdict: {photo.verdict}")
    for label in correction.removed:
        click.echo(f"{label} had no other photo, and is no longer in {gallery}")
    if correction.changed and correction.after is not None:
        before = "unknown before" if correction.before is None else f"{correction.before} before"
        click.echo(f"expected on new photos like these: {correction.after} get the right label, {before}")


def _describe(correction: PhotoCorrection) -> str:
    if correction.moved_from:
        return f"is moved from {' and '.join(correction.moved_from)} to {correction.label}"
    new = " a new species," if correction.is_new else ""
    return (
        f"is added to{new} {correction.label}" if correction.changed else f"is in {correction.label} already"
    )


def _count(correction: PhotoCorrection) -> str:
    shots = correction.enrollment.shots
    return f"{shots} photo{'s' * (shots != 1)}"
