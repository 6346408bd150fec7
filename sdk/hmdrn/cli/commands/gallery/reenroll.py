"""`hmdrn gallery reenroll`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.commands.gallery.inspect import gallery_argument
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import json_option, print_json, threads_option
from hmdrn.cli.threshold_summary import calibrate_line
from hmdrn.loading import load
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import check_gallery_place, load_gallery, save_gallery
from hmdrn_runtime.migration import reenrolled
from hmdrn_runtime.open_set.threshold import rate_of


@click.command("reenroll")
@gallery_argument
@click.option("--bundle", "-b", required=True, metavar="BUNDLE", help="The bundle to carry the gallery to.")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="The new gallery; GALLERY itself stays as it is.",
)
@click.option("--skip-missing", is_flag=True, help="Leave out photos that have no thumbnail.")
@threads_option
@json_option
def reenroll(
    gallery: Path, bundle: str, output: Path, skip_missing: bool, threads: int | None, as_json: bool
) -> None:
    """Carry GALLERY to another model: enroll its thumbnails anew under BUNDLE.

    Needs a gallery whose photos were enrolled with --keep-thumbnails.

    Example: hmdrn gallery reenroll site7.gallery --bundle new.hmdrn --output site7-new.gallery
    """
    output = check_gallery_place(output)
    if output.exists():
        raise GalleryError(f"{output} is there already: give the path of a new gallery")
    old = load_gallery(gallery)
    found, left_out = reenrolled(old, load(bundle, threads=threads), skip_missing)
    save_gallery(found, output)
    far = rate_of(old.calibration)
    if far is not None:
        print_message(
            f"warning: {output} is not calibrated, since a calibration is for the model it was made with: "
            f"run {calibrate_line(output, bundle, far)}"
        )
    photos = sum(s.shots for s in found.species.values())
    if as_json:
        values = {"gallery": str(gallery), "bundle": bundle, "output": str(output)}
        print_json(
            "gallery.reenroll",
            {**values, "species": len(found), "photos": photos, "left_out": left_out},
        )
        return
    missing = f"; {left_out} photos without thumbnail left out" if left_out else ""
    click.echo(f"enrolled {len(found)} species anew from {photos} thumbnails into {output}{missing}")
