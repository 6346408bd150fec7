"""`hmdrn enroll`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from hmdrn.cli.messages import print_message
from hmdrn.cli.numbers import FiniteRange
from hmdrn.cli.options import (
    backend_option,
    bundle_argument,
    json_option,
    print_json,
    print_table,
    progress,
    threads_option,
)
from hmdrn.cli.output_paths import photos_of
from hmdrn.cli.threshold_summary import passing_text, rate_text
from hmdrn.loading import bundle_path, load
from hmdrn.open_set import calibrate, passing, require_background
from hmdrn.plotting.contact_sheet import check_sheet_place, draw_sheet
from hmdrn_runtime.datasets.dataset import Photo, open_species
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import DatasetError, EnrollmentError, ImageError
from hmdrn_runtime.gallery.file import check_gallery_place
from hmdrn_runtime.images.quality import PreparedPhoto, prepare_photo
from hmdrn_runtime.io.files import check_apart, user_path
from hmdrn_runtime.open_set.threshold import rate_of
from hmdrn_runtime.recognizer import Recognizer


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
@click.option(
    "--strict", is_flag=True, help="Enroll nothing if a photo is doubtful, and say which photos are and why."
)
@click.option(
    "--contact-sheet",
    type=click.Path(path_type=Path),
    help="Picture of all photos with their verdicts; GALLERY.png by default.",
)
@click.option(
    "--far",
    type=FiniteRange(0.01, 0.5),
    help="Calibrate what counts as known: the share of other species' photos that may pass, such as 0.05.",
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
    far: float | None,
    backend: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Enroll species from FOLDER: in it, a folder of 1 to 10 photos for every species (or a zip of such).

    A folder's name is its species' label. Photos are added to species that the gallery has already.
    Either all of FOLDER is enrolled, or nothing. Several processes may enroll into one gallery at once.
    Each photo gets a verdict: what is wrong with it, or whether the species' other photos agree with it.

    Example: hmdrn enroll default species/ --gallery site7.gallery --far 0.05
    """
    gallery, folder = check_gallery_place(gallery), user_path(folder, DatasetError)
    sheet = check_sheet_place(contact_sheet or gallery.with_name(f"{gallery.name}.png"))
    check_apart(sheet, "picture", [gallery, bundle_path(bundle), *photos_of(folder)], EnrollmentError)
    recognizer = load(bundle, gallery if gallery.exists() else None, backend, threads, keep_thumbnails)
    dataset = open_species(folder)
    if dataset.empty:
        # A mistake that nobody would notice later.
        raise EnrollmentError(
            f"no photo in {', '.join(map(repr, dataset.empty))} of {folder}: add one, or remove the folder"
        )
    mode = recognizer.bundle.manifest.input.preprocessing
    if far is not None:
        require_background(recognizer)
    reports: list[EnrollmentReport] = []
    enrolled: list[list[PreparedPhoto]] = []
    skipped: list[dict[str, str]] = []
    with progress() as report:
        for done, (label, photos) in enumerate(dataset.classes.items()):
            report(f"enrolling {label}", done, len(dataset.classes))
            usable = _prepared(photos, mode, skipped if skip_unreadable else None)
            if not usable:
                raise EnrollmentError(f"{label!r} has no readable photo: add one, or remove the folder")
            reports.append(recognizer.enroll(label, usable))
            enrolled.append(usable)
        # Once more, now that the species enrolled later are there to be confused with.
        pairs = zip(reports, enrolled, strict=True)
        reports = [recognizer.review(*pair) for pair in pairs] if len(reports) > 1 else reports
    if strict:
        _refuse(reports)
    # When all is there that other processes have saved meanwhile: the rate may be one of theirs.
    recognizer.save_gallery(gallery, lambda: _calibrate(recognizer, far))
    rate = far or rate_of(recognizer.gallery.calibration)
    cost = None if rate is None or recognizer.background is None else passing(recognizer)
    drawn = _drawn(reports, enrolled, sheet)
    for entry in skipped:
        print_message(f"left out: {entry['reason']}")
    _warn(reports)
    if recognizer.calibration_doubt is not None:
        print_message(f"warning: {recognizer.calibration_doubt}")
    if as_json:
        species = [
            {
                "label": r.label,
                "added": len(r.added),
                "duplicates": len(r.duplicates),
                "shots": r.shots,
                "also_in": r.also_in,
                "similar": r.similar,
                "doubt": r.doubt,
                "nearest": None if r.nearest is None else r.nearest.to_dict(),
                "photos": [photo.to_dict() for photo in r.photos],
            }
            for r in reports
        ]
        values = {"gallery": str(gallery), "contact_sheet": str(sheet) if drawn else None, "far": rate}
        own = None if cost is None else cost.to_dict()
        print_json("enroll", {**values, "own_photos": own, "species": species, "skipped": skipped})
        return
    rows = [
        [r.label, str(len(r.added)), str(len(r.duplicates)), str(r.shots), *_neighbour(r)] for r in reports
    ]
    print_table(
        f"{len(recognizer.gallery)} species in {gallery}",
        ["species", "added", "known already", "photos now", "most like", "told apart"],
        rows,
    )
    print_table(
        "photos",
        ["photo", "verdict", "recognised as", "fit"],
        [
            [p.name, p.verdict, p.recognised_as or "-", "-" if p.fit is None else f"{p.fit:+.2f}"]
            for r in reports
            for p in r.photos
        ],
    )
    if cost is not None:
        click.echo(f"{gallery} is {rate_text(rate)}: {passing_text(cost)}")
    if drawn:
        click.echo(f"wrote {sheet}")


def _calibrate(recognizer: Recognizer, far: float | None) -> None:
    """Calibrate for a rate; without one, again for the rate that the gallery has, if any."""
    rate = far or rate_of(recognizer.gallery.calibration)
    if rate is not None and recognizer.background is not None:
        calibrate(recognizer, rate)


def _drawn(reports: Sequence[EnrollmentReport], seen: Sequence[Sequence[PreparedPhoto]], sheet: Path) -> bool:
    """Draw the contact sheet; the gallery is written by now, and a picture's failure must not hide that."""
    try:
        draw_sheet(reports, seen, sheet)
    except EnrollmentError as error:
        print_message(f"warning: {error}; the species are enrolled all the same")
        return False
    return True


def _neighbour(report: EnrollmentReport) -> tuple[str, str]:
    if report.nearest is None:
        return "-", "-"
    return report.nearest.label, f"{100 * report.nearest.separability:.0f} %"


def _refuse(reports: Iterable[EnrollmentReport]) -> None:
    """Refuse doubtful photos and species; one that is enrolled already adds nothing to refuse.

    Raises:
        EnrollmentError: There is one; all are named.
    """
    reports = list(reports)
    doubtful = [photo for r in reports for photo in r.doubtful if photo.duplicate_of != 0]
    found = [f"{photo.name} ({photo.verdict})" for photo in doubtful]
    found += [r.doubt for r in reports if r.doubt is not None and r.added]
    if found:
        raise EnrollmentError(
            f"nothing was enrolled, doubtful: {'; '.join(found)}; take them again, or leave out --strict"
        )


def _warn(reports: Iterable[EnrollmentReport]) -> None:
    """Of what is allowed and hardly meant."""
    for r in reports:
        if r.doubt is not None:
            print_message(f"warning: {r.doubt}")
        for other in r.also_in:
            print_message(
                f"warning: {r.label!r} and {other!r} hold the same photo: enroll it for one of them only"
            )
        for other in r.similar:
            print_message(
                f"warning: {r.label!r} and {other!r} count as two species: use one name if they are one"
            )


def _prepared(
    photos: Iterable[Photo], mode: str, skipped: list[dict[str, str]] | None
) -> list[PreparedPhoto]:
    """The network inputs of the photos; where `skipped` is given, it takes in those that cannot be used."""
    usable: list[PreparedPhoto] = []
    for photo in photos:
        try:
            usable.append(prepare_photo(photo.load(), mode, photo.name))
        except (ImageError, DatasetError) as error:
            if skipped is None:
                raise type(error)(f"{error}; --skip-unreadable leaves such photos out") from error
            skipped.append({"photo": photo.name, "reason": str(error)})
    return usable
