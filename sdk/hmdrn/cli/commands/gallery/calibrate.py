"""`hmdrn gallery calibrate`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.commands.gallery.inspect import gallery_argument
from hmdrn.cli.numbers import FiniteRange
from hmdrn.cli.options import json_option, print_json, threads_option
from hmdrn.cli.threshold_summary import USUAL, passing_text, rate_text
from hmdrn.loading import load
from hmdrn.open_set import calibrate as fit
from hmdrn.open_set import passing, require_background
from hmdrn_runtime.gallery.file import edit_gallery
from hmdrn_runtime.open_set.threshold import rate_of
from hmdrn_runtime.recognizer import Recognizer


@click.command("calibrate")
@gallery_argument
@click.option("--bundle", "-b", required=True, metavar="BUNDLE", help="The bundle that GALLERY is used with.")
@click.option(
    "--far",
    type=FiniteRange(0.01, 0.5),
    help="Share of photos of other species that may pass as known.  "
    f"[default: the rate that GALLERY has; {USUAL} if it has none]",
)
@threads_option
@json_option
def calibrate(gallery: Path, bundle: str, far: float | None, threads: int | None, as_json: bool) -> None:
    """Make GALLERY tell known species from unknown ones, and say what that costs.

    Do it again when species or photos have come or gone. How many of the gallery's own photos would pass is
    told by comparing each with the others of its species.

    Example: hmdrn gallery calibrate site7.gallery --bundle default --far 0.05
    """
    opened = load(bundle, threads=threads)
    require_background(opened)
    with edit_gallery(gallery) as target:
        recognizer = Recognizer(opened.bundle, opened.backend, target)
        rate = far or rate_of(target.calibration) or USUAL
        fit(recognizer, rate)
        cost = passing(recognizer)
    if as_json:
        values = {"gallery": str(gallery), "bundle": bundle, "far": rate}
        print_json("gallery.calibrate", {**values, "species": len(target), "own_photos": cost.to_dict()})
        return
    click.echo(f"{gallery} is {rate_text(rate)}: {passing_text(cost)}")
