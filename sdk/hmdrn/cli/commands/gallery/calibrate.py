"""`hmdrn gallery calibrate`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.commands.gallery.inspect import gallery_argument
from hmdrn.cli.options import false_accept_rate_option, json_option, option, threads_option
from hmdrn.cli.output import print_json
from hmdrn.cli.threshold_summary import DEFAULT_RATE, describe_passing, describe_rate
from hmdrn.loading import load
from hmdrn.open_set import calibrate_threshold, evaluate_acceptance, require_background
from hmdrn_runtime.gallery.file import edit_gallery
from hmdrn_runtime.open_set.threshold import false_accept_rate as rate_of_calibration
from hmdrn_runtime.recognizer import Recognizer


@click.command("calibrate")
@gallery_argument
@option("--bundle", "-b", required=True, metavar="BUNDLE", help="The bundle that GALLERY is used with.")
@false_accept_rate_option(
    "Share of photos of other species that may pass as known.  "
    f"[default: the rate that GALLERY has; {DEFAULT_RATE} if it has none]"
)
@threads_option
@json_option
def calibrate_gallery(
    gallery: Path, bundle: str, false_accept_rate: float | None, threads: int | None, as_json: bool
) -> None:
    """Fit the threshold between known and unknown species for GALLERY, and show its cost.

    Do it again when species or photos have come or gone. The cost is the number of the gallery's own photos
    that would pass, each compared with the others of its species.

    Example: hmdrn gallery calibrate site7.gallery --bundle default --false-accept-rate 0.05
    """
    opened = load(bundle, threads=threads)
    require_background(opened)
    with edit_gallery(gallery) as target:
        recognizer = Recognizer(opened.bundle, opened.backend, target)
        rate = false_accept_rate or rate_of_calibration(target.calibration) or DEFAULT_RATE
        calibrate_threshold(recognizer, rate)
        cost = evaluate_acceptance(recognizer)
    if as_json:
        values = {"gallery": str(gallery), "bundle": bundle, "far": rate}
        print_json("gallery.calibrate", {**values, "species": len(target), "own_photos": cost.to_dict()})
        return
    click.echo(f"{gallery} is {describe_rate(rate)}: {describe_passing(cost)}")
