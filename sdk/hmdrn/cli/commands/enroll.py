"""`hmdrn enroll`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from hmdrn.cli.forecast_summary import describe_forecast
from hmdrn.cli.gallery_notes import warn_of_lookalikes
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
from hmdrn.forecasting import forecast
from hmdrn.loading import load, resolve_bundle
from hmdrn.open_set import evaluate_acceptance, recalibrate_threshold, require_background
from hmdrn.plotting.contact_sheet import check_sheet_path, draw_contact_sheet
from hmdrn_runtime.datasets.dataset import Dataset, open_species
from hmdrn_runtime.datasets.reading import raise_together
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import DatasetError, EnrollmentError, HmdrnError, ImageError
from hmdrn_runtime.gallery.file import check_gallery_path
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.images.capture_time import read_capture_time
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.images.quality import PreparedPhoto, prepare_photo
from hmdrn_runtime.io.files import check_not_input, expand_path
from hmdrn_runtime.messages import abbreviate_names
from hmdrn_runtime.open_set.threshold import false_accept_rate as rate_of_calibration
from hmdrn_runtime.progress import ProgressCallback


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
    help="Keep small photos too (JPEG, 5 to 10 KB each): they carry the gallery to another model.",
)
@option("--no-file-names", is_flag=True, help="Do not keep the names of the photos' files in GALLERY.")
@option(
    "--strict",
    is_flag=True,
    help="Enroll nothing if a photo is probably wrong, unreadable, blurred, or a copy.",
)
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
    no_file_names: bool,
    strict: bool,
    contact_sheet: Path | None,
    false_accept_rate: float | None,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Enroll species from FOLDER, which has a folder of photos for every species (or is such a zip).

    Five to ten different photos of a species are usual; more are fine, and each helps a little less.
    A folder's name is its species' label. Photos are added to species that the gallery has already.
    Either all of FOLDER is enrolled, or nothing. Several processes may enroll into one gallery at once.
    Each photo gets a verdict: its defects, or whether the species' other photos agree with it.

    Example: hmdrn enroll default species/ --gallery site7.gallery --false-accept-rate 0.05
    """
    gallery, folder = check_gallery_path(gallery), expand_path(folder, DatasetError)
    sheet = check_sheet_path(contact_sheet or gallery.with_name(f"{gallery.name}.png"))
    inputs = [gallery, resolve_bundle(bundle), *list_dataset_paths(folder)]
    check_not_input(sheet, "picture", inputs, EnrollmentError)
    existing, names = gallery if gallery.exists() else None, not no_file_names
    recognizer = load(bundle, existing, backend, threads, keep_thumbnails, keep_file_names=names)
    dataset = open_species(folder)
    if false_accept_rate is not None:
        require_background(recognizer)
    reports: list[EnrollmentReport] = []
    with progress() as report:
        prepared, skipped = _prepare(dataset, recognizer.preprocessing, skip_unreadable, report)
        enrolled = list(prepared.values())
        for done, (label, photos) in enumerate(prepared.items()):
            report(f"enrolling {label}", done, len(prepared))
            reports.append(recognizer.enroll(label, photos))
        if len(reports) > 1:  # the first were judged before the last were there to be confused with
            reports = [recognizer.review(*pair) for pair in zip(reports, enrolled, strict=True)]
    if strict:
        _refuse_doubtful(reports)

    # Called once the changes that other processes saved meanwhile are in: the rate may be one of theirs.
    recognizer.save_gallery(gallery, lambda: recalibrate_threshold(recognizer, false_accept_rate))
    rate = false_accept_rate or rate_of_calibration(recognizer.gallery.calibration)
    cost = None if rate is None or recognizer.background is None else evaluate_acceptance(recognizer)
    expected = forecast(recognizer)
    drawn = True
    try:
        draw_contact_sheet(reports, enrolled, sheet)
    except EnrollmentError as error:  # a warning, since the gallery is written by now
        drawn = False
        print_message(f"warning: {error}; the species are enrolled all the same")
    for line in dataset.notes:
        print_message(f"warning: {folder}: {line}")
    for entry in skipped:
        print_message(f"left out: {entry['reason']}")
    _note_repetitions(reports)
    _warn(reports)
    if recognizer.calibration_issue is not None:
        print_message(f"warning: {recognizer.calibration_issue}")
    if as_json:
        species = [
            {
                "label": r.label,
                "added": len(r.added),
                "duplicates": len(r.duplicates),
                "in_gallery_already": [photo.name for photo in r.photos if photo.enrolled],
                "given_twice": [name for name, _ in _find_repetitions(r)],
                "shots": r.shots,
                "also_in": r.also_in,
                "similar": r.similar,
                "doubt": r.issue,
                "nearest": None if r.nearest is None else r.nearest.to_dict(),
                "please_check": [photo.name for photo in r.unsure],
                "photos": [photo.to_dict() for photo in r.photos],
            }
            for r in reports
        ]
        values = {
            "gallery": str(gallery),
            "contact_sheet": str(sheet) if drawn else None,
            "far": rate,
            "own_photos": None if cost is None else cost.to_dict(),
            "forecast": None if expected is None else expected.to_dict(),
        }
        print_json("enroll", {**values, "species": species, "skipped": skipped})
        return
    rows = []
    for r in reports:
        n = r.nearest
        nearest = ["-", "-"] if n is None else [n.label, f"{100 * n.separability:.0f} %"]
        rows.append([r.label, *map(str, (len(r.added), len(r.duplicates), r.shots)), *nearest])
    columns = ["species", "added", "known already", "photos now", "most like", "recognized"]
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
    unsure = sorted((p for r in reports for p in r.unsure), key=lambda photo: photo.fit or 0.0)
    if unsure:
        click.echo(f"please check, the least sure first: {', '.join(photo.name for photo in unsure)}")
    if expected is not None:
        click.echo(describe_forecast(expected))
    if cost is not None:
        click.echo(f"{gallery} is {describe_rate(rate)}: {describe_passing(cost)}")
    if drawn:
        click.echo(f"wrote {sheet}")


def _refuse_doubtful(reports: Sequence[EnrollmentReport]) -> None:
    """Raise EnrollmentError that names photos that are probably wrong, blurred, or copies.

    Photos that were enrolled before are not refused, nor dark, overexposed or small ones: they may be right.
    """
    refused = [
        photo
        for report in reports
        for photo in report.photos
        if not photo.enrolled and (photo.outlier or photo.quality.blurred or photo.duplicate_of is not None)
    ]
    doubtful = [f"{photo.name} ({photo.verdict})" for photo in refused]
    if doubtful:
        raise EnrollmentError(
            f"nothing was enrolled, doubtful: {'; '.join(doubtful)}; take them again, or leave out --strict"
        )


def _find_repetitions(report: EnrollmentReport) -> list[tuple[str, str]]:
    """Return the photos that were given twice for a species that lacked them, with the name of the first."""
    first: dict[str, str] = {}
    repetitions = []
    for photo in report.photos:
        if photo.digest in first and not photo.enrolled:
            repetitions.append((photo.name, first[photo.digest]))
        first.setdefault(photo.digest, photo.name)
    return repetitions


def _note_repetitions(reports: Sequence[EnrollmentReport]) -> None:
    """Say which photos changed nothing: each counts once."""
    known = [photo.name for r in reports for photo in r.photos if photo.enrolled]
    if known:
        print_message(f"note: in the gallery already, counted once: {abbreviate_names(known)}")
    twice = [f"{name} (the same photo as {first})" for r in reports for name, first in _find_repetitions(r)]
    if twice:
        print_message(f"note: given twice, counted once: {abbreviate_names(twice)}")


def _warn(reports: Iterable[EnrollmentReport]) -> None:
    """Warn of what is allowed but probably a mistake."""
    for r in reports:
        if r.issue is not None:
            print_message(f"warning: {r.issue}")
        for other in r.also_in:
            pair = f"{r.label!r} and {other!r}"
            print_message(f"warning: {pair} hold the same photo: enroll it for one of them only")
        warn_of_lookalikes(r.label, r.similar)


def _prepare(
    dataset: Dataset, preprocessing: Preprocessing, skip_unreadable: bool, report: ProgressCallback
) -> tuple[dict[str, list[PreparedPhoto]], list[dict[str, str]]]:
    """Return the network's inputs by species, and the photo and reason of each that is left out.

    Raises:
        HmdrnError: A species has no photo or a bad label, or a photo cannot be read and is not to be left
            out; all such problems are one error.
    """
    prepared: dict[str, list[PreparedPhoto]] = {}
    skipped: list[dict[str, str]] = []
    errors: list[HmdrnError] = []
    if dataset.empty_classes:  # a mistake that nobody would notice later
        names = ", ".join(map(repr, dataset.empty_classes))
        errors.append(
            EnrollmentError(f"no photo in {names} of {dataset.source}: add one, or remove the folder")
        )
    for done, (label, photos) in enumerate(dataset.classes.items()):
        report(f"reading {label}", done, len(dataset.classes))
        prepared[label] = []
        try:
            clean_label(label)
        except EnrollmentError as error:
            errors.append(error)
        for photo in photos:
            try:
                inputs = prepare_photo(photo.load(), preprocessing, photo.name)
                taken = read_capture_time(photo.read())
                prepared[label].append(replace(inputs, file_name=photo.name, taken=taken))
            except (ImageError, DatasetError) as error:
                skipped.append({"photo": photo.name, "reason": str(error)})
                if not skip_unreadable:
                    errors.append(error)
        if skip_unreadable and not prepared[label]:
            errors.append(EnrollmentError(f"{label!r} has no readable photo: add one, or remove the folder"))
    if skipped and not skip_unreadable:
        errors[-1] = type(errors[-1])(
            f"{errors[-1]}; --skip-unreadable leaves out photos that cannot be read"
        )
    raise_together(errors)
    return prepared, skipped
