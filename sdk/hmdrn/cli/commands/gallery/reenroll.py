"""`hmdrn gallery reenroll`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.commands.gallery.inspect import gallery_argument
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, json_option, option, threads_option
from hmdrn.cli.output import print_json
from hmdrn.cli.threshold_summary import calibrate_command
from hmdrn.loading import load
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import check_gallery_path, load_gallery, save_gallery
from hmdrn_runtime.migration import reenroll as reenroll_gallery
from hmdrn_runtime.open_set.threshold import false_accept_rate


@click.command("reenroll")
@gallery_argument
@option("--bundle", "-b", required=True, metavar="BUNDLE", help="The bundle to carry the gallery to.")
@option("--output", "-o", required=True, type=PATH, help="The new gallery; GALLERY itself stays as it is.")
@option("--skip-missing", is_flag=True, help="Leave out photos that have no thumbnail.")
@threads_option
@json_option
def reenroll(
    gallery: Path, bundle: str, output: Path, skip_missing: bool, threads: int | None, as_json: bool
) -> None:
    """Carry GALLERY to another model: enroll its thumbnails anew under BUNDLE.

    The photos of GALLERY must have been enrolled with --keep-thumbnails.

    Example: hmdrn gallery reenroll site7.gallery --bundle new.hmdrn --output site7-new.gallery
    """
    output = check_gallery_path(output)
    if output.exists():
        raise GalleryError(f"{output} is there already: give the path of a new gallery")
    old = load_gallery(gallery)
    new, left_out = reenroll_gallery(old, load(bundle, threads=threads), skip_missing)
    save_gallery(new, output)
    rate = false_accept_rate(old.calibration)
    if rate is not None:
        print_message(
            f"warning: {output} is not calibrated, since a calibration is for the model it was made with: "
            f"run {calibrate_command(output, bundle, rate)}"
        )
    photos = sum(s.shots for s in new.species.values())
    if as_json:
        values = {"gallery": str(gallery), "bundle": bundle, "output": str(output)}
        counts = {"species": len(new), "photos": photos, "left_out": left_out}
        print_json("gallery.reenroll", {**values, **counts})
        return
    missing = f"; {left_out} photos without thumbnail left out" if left_out else ""
    click.echo(f"enrolled {len(new)} species anew from {photos} thumbnails into {output}{missing}")
