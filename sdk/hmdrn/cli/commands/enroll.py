"""`hmdrn enroll`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from hmdrn.cli.messages import print_message
from hmdrn.cli.options import (
    PATH,
    backend_option,
    bundle_argument,
    false_accept_rate_option,
    json_option,
    option,
    threads_option,
)
from hmdrn.cli.output import print_json, print_table, progress
from hmdrn.cli.output_paths import list_dataset_paths
from hmdrn.cli.threshold_summary import describe_passing, describe_rate
from hmdrn.loading import load, resolve_bundle
from hmdrn.open_set import calibrate_threshold, evaluate_acceptance, require_background
from hmdrn.plotting.contact_sheet import check_sheet_path, draw_contact_sheet
from hmdrn_runtime.datasets.dataset import Photo, open_species
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import DatasetError, EnrollmentError, ImageError
from hmdrn_runtime.gallery.file import check_gallery_path
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.images.quality import PreparedPhoto, prepare_photo
from hmdrn_runtime.io.files import check_not_input, expand_path
from hmdrn_runtime.open_set.threshold import false_accept_rate as rate_of_calibration


@click.command("enroll")
@bundle_argument
@click.argument("folder", type=PATH)
@option("--gallery", "-g", required=True, type=PATH, help="Gallery file to add to; made if missing.")
@option(
    "--skip-unreadable",
    is_flag=True,
    help="Leave out unreadable photos instead of stopping; every species must keep at least one.",
)
@option(
    "--keep-thumbnails",
    is_flag=True,
    help="Keep small photos too (84 x 84, 21 KB each): they carry the gallery to another model.",
)
@option("--strict", is_flag=True, help="Enroll nothing if a photo is doubtful, and name such photos.")
@option("--contact-sheet", type=PATH, help="Picture of all photos with verdicts; GALLERY.png by default.")
@false_accept_rate_option(
    "Calibrate what counts as known: the share of other species' photos that may pass, such as 0.05."
)
@backend_option
@threads_option
@json_option
def command(
    bundle: str,
    folder: Path,
    gallery: Path,
    skip_unreadable: bool,
    keep_thumbnails: bool,
    strict: bool,
    contact_sheet: Path | None,
    false_accept_rate: float | None,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Enroll species from FOLDER, which has a folder of 1 to 10 photos for every species (or is such a zip).

    A folder's name is its species' label. Photos are added to species that the gallery has already.
    Either all of FOLDER is enrolled, or nothing. Several processes may enroll into one gallery at once.
    Each photo gets a verdict: its defects, or whether the species' other photos agree with it.

    Example: hmdrn enroll default species/ --gallery site7.gallery --false-accept-rate 0.05
    """
    gallery, folder = check_gallery_path(gallery), expand_path(folder, DatasetError)
    sheet = check_sheet_path(contact_sheet or gallery.with_name(f"{gallery.name}.png"))
    inputs = [gallery, resolve_bundle(bundle), *list_dataset_paths(folder)]
    check_not_input(sheet, "picture", inputs, EnrollmentError)
    recognizer = load(bundle, gallery if gallery.exists() else None, backend, threads, keep_thumbnails)
    dataset = open_species(folder)
    if dataset.empty_classes:
        # A mistake that nobody would notice later.
        raise EnrollmentError(
            f"no photo in {', '.join(map(repr, dataset.empty_classes))} of {folder}: add one, or remove the "
            "folder"
        )
    if false_accept_rate is not None:
        require_background(recognizer)
    preprocessing = recognizer.preprocessing
    reports: list[EnrollmentReport] = []
    enrolled: list[list[PreparedPhoto]] = []
    skipped: list[dict[str, str]] = []
    with progress() as report:
        for done, (label, photos) in enumerate(dataset.classes.items()):
            report(f"enrolling {label}", done, len(dataset.classes))
            readable = _prepare(photos, preprocessing, skipped if skip_unreadable else None)
            if not readable:
                raise EnrollmentError(f"{label!r} has no readable photo: add one, or remove the folder")
            reports.append(recognizer.enroll(label, readable))
            enrolled.append(readable)
        if len(reports) > 1:  # the first were judged before the last were there to be confused with
            reports = [recognizer.review(*pair) for pair in zip(reports, enrolled, strict=True)]
    if strict:
        _refuse_doubtful(reports)

    def current_rate() -> float | None:
        return false_accept_rate or rate_of_calibration(recognizer.gallery.calibration)

    def recalibrate() -> None:
        if (rate := current_rate()) is not None and recognizer.background is not None:
            calibrate_threshold(recognizer, rate)

    # Called once the changes that other processes saved meanwhile are in: the rate may be one of theirs.
    recognizer.save_gallery(gallery, recalibrate)
    rate = current_rate()
    cost = None if rate is None or recognizer.background is None else evaluate_acceptance(recognizer)
    drawn = True
    try:
        draw_contact_sheet(reports, enrolled, sheet)
    except EnrollmentError as error:  # a warning, since the gallery is written by now
        drawn = False
        print_message(f"warning: {error}; the species are enrolled all the same")
    for entry in skipped:
        print_message(f"left out: {entry['reason']}")
    _warn(reports)
    if recognizer.calibration_issue is not None:
        print_message(f"warning: {recognizer.calibration_issue}")
    if as_json:
        species = [
            {
                "label": r.label,
                "added": len(r.added),
                "duplicates": len(r.duplicates),
                "shots": r.shots,
                "also_in": r.also_in,
                "similar": r.similar,
                "doubt": r.issue,
                "nearest": None if r.nearest is None else r.nearest.to_dict(),
                "photos": [photo.to_dict() for photo in r.photos],
            }
            for r in reports
        ]
        values = {"gallery": str(gallery), "contact_sheet": str(sheet) if drawn else None, "far": rate}
        own = None if cost is None else cost.to_dict()
        print_json("enroll", {**values, "own_photos": own, "species": species, "skipped": skipped})
        return
    rows = []
    for r in reports:
        n = r.nearest
        nearest = ["-", "-"] if n is None else [n.label, f"{100 * n.separability:.0f} %"]
        rows.append([r.label, *map(str, (len(r.added), len(r.duplicates), r.shots)), *nearest])
    columns = ["species", "added", "known already", "photos now", "most like", "separable"]
    print_table(f"{len(recognizer.gallery)} species in {gallery}", columns, rows)
    print_table(
        "photos",
        ["photo", "verdict", "recognized as", "fit"],
        [
            [p.name, p.verdict, p.recognized_as or "-", "-" if p.fit is None else f"{p.fit:+.2f}"]
            for r in reports
            for p in r.photos
        ],
    )
    if cost is not None:
        click.echo(f"{gallery} is {describe_rate(rate)}: {describe_passing(cost)}")
    if drawn:
        click.echo(f"wrote {sheet}")


def _refuse_doubtful(reports: Sequence[EnrollmentReport]) -> None:
    """Raise EnrollmentError that names doubtful photos and species, but for photos enrolled before."""
    flagged = [photo for r in reports for photo in r.flagged if photo.duplicate_of != 0]
    doubtful = [f"{photo.name} ({photo.verdict})" for photo in flagged]
    doubtful += [r.issue for r in reports if r.issue is not None and r.added]
    if doubtful:
        raise EnrollmentError(
            f"nothing was enrolled, doubtful: {'; '.join(doubtful)}; take them again, or leave out --strict"
        )


def _warn(reports: Iterable[EnrollmentReport]) -> None:
    """Warn of what is allowed but probably a mistake."""
    for r in reports:
        if r.issue is not None:
            print_message(f"warning: {r.issue}")
        for other in r.also_in:
            pair = f"{r.label!r} and {other!r}"
            print_message(f"warning: {pair} hold the same photo: enroll it for one of them only")
        for other in r.similar:
            pair = f"{r.label!r} and {other!r}"
            print_message(f"warning: {pair} count as two species: use one name if they are one")


def _prepare(
    photos: Iterable[Photo], preprocessing: Preprocessing, skipped: list[dict[str, str]] | None
) -> list[PreparedPhoto]:
    """Return readable photos' network inputs; unreadable ones go into `skipped`, or raise if it is None."""
    readable: list[PreparedPhoto] = []
    for photo in photos:
        try:
            readable.append(prepare_photo(photo.load(), preprocessing, photo.name))
        except (ImageError, DatasetError) as error:
            if skipped is None:
                raise type(error)(f"{error}; --skip-unreadable leaves such photos out") from error
            skipped.append({"photo": photo.name, "reason": str(error)})
    return readable
