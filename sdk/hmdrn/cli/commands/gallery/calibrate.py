"""`hmdrn gallery calibrate`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.commands.gallery.inspect import gallery_argument
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, false_accept_rate_option, json_option, option, threads_option
from hmdrn.cli.output import print_json
from hmdrn.cli.threshold_summary import DEFAULT_RATE, describe_passing, describe_rate
from hmdrn.loading import load
from hmdrn.open_set import calibrate_threshold, evaluate_acceptance, require_background
from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.datasets.reading import PhotoReader, describe_unreadable
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.gallery.file import edit_gallery
from hmdrn_runtime.images.quality import PreparedPhoto, prepare_photo
from hmdrn_runtime.messages import abbreviate_names
from hmdrn_runtime.open_set.threshold import false_accept_rate as stored_rate
from hmdrn_runtime.recognizer import Recognizer


@click.command("calibrate")
@gallery_argument
@option("--bundle", "-b", required=True, metavar="BUNDLE", help="The bundle that GALLERY is used with.")
@false_accept_rate_option(
    "Share of photos of other species that may pass as known.  "
    f"[default: the rate that GALLERY has; {DEFAULT_RATE} if it has none]"
)
@option(
    "--unknown",
    type=PATH,
    metavar="FOLDER",
    help="Photos from GALLERY's own place that show none of its species, best 100: the rate holds better.",
)
@option("--forget-unknown", is_flag=True, help="Do not count the photos of an earlier --unknown any more.")
@threads_option
@json_option
def calibrate_gallery(
    gallery: Path,
    bundle: str,
    false_accept_rate: float | None,
    unknown: Path | None,
    forget_unknown: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Fit the threshold between known and unknown species for GALLERY, and show its cost.

    Do it again when species or photos have come or gone. The cost is the number of the gallery's own photos
    that would pass, each compared with the others of its species. What --unknown gave stays in GALLERY as
    scores, which later calibrations count too.

    Example: hmdrn gallery calibrate site7.gallery --bundle default --unknown strangers/
    """
    if unknown is not None and forget_unknown:
        raise click.UsageError("--unknown and --forget-unknown exclude each other: give one of them")
    opened = load(bundle, threads=threads)
    require_background(opened)
    photos = _read_unknown(opened, unknown) if unknown is not None else [] if forget_unknown else None
    with edit_gallery(gallery) as target:
        recognizer = Recognizer(opened.bundle, opened.backend, target)
        rate = false_accept_rate or stored_rate(target.calibration) or DEFAULT_RATE
        counted = len(calibrate_threshold(recognizer, rate, photos).unknown)
        cost = evaluate_acceptance(recognizer)
    answers = zip(photos or [], recognizer.classify_batch(photos or []), strict=True)
    passing = [(photo.name, answer.label) for photo, answer in answers if answer.known]
    if as_json:
        values = {"gallery": str(gallery), "bundle": bundle, "far": rate, "species": len(target)}
        passed = None if photos is None else [{"photo": name, "label": label} for name, label in passing]
        strangers = {"unknown_photos": counted, "unknown_passing": passed}
        print_json("gallery.calibrate", {**values, "own_photos": cost.to_dict(), **strangers})
        return
    parts = [describe_passing(cost)]
    if photos:
        names = abbreviate_names([f"{name} as {label}" for name, label in passing])
        shown = f" ({names})" if names else ""
        parts.insert(0, f"of {len(photos)} photos of unknown species {len(passing)} pass{shown}")
    elif counted:
        parts.insert(0, f"fitted with the scores of {counted} photos of unknown species, as before")
    click.echo(f"{gallery} is {describe_rate(rate)}: {'; '.join(parts)}")


def _read_unknown(recognizer: Recognizer, folder: Path) -> list[PreparedPhoto]:
    """Return the photos of a folder that can be read, and report the others.

    Raises:
        DatasetError: There are none.
    """
    reader = PhotoReader()
    read = reader.apply(
        find_photos(folder), lambda path: prepare_photo(path, recognizer.preprocessing, path.name)
    )
    photos = [photo for _, photo in read]
    if reader.unreadable:
        print_message(f"warning: {describe_unreadable(reader.unreadable)}")
    if not photos:
        raise DatasetError(f"{folder} has no photo that can be read: check the path")
    return photos
