"""`hmdrn label`."""

from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path

import click

from hmdrn.cli.detector_options import DetectorOptions, open_photo_detector, photo_detector_options
from hmdrn.cli.gallery_notes import load_with_notes
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, gallery_option, json_option, option, threads_option
from hmdrn.cli.output import print_json, print_table, progress
from hmdrn.cli.output_paths import check_output_path
from hmdrn.cli.parameters import FiniteRange
from hmdrn.visits.card_files import CSV_COLUMNS, LabeledFile, list_files, sort_files
from hmdrn.visits.labeling import GAP_SECONDS, label_card
from hmdrn.visits.store import MAX_MEGABYTES, VisitStore
from hmdrn_runtime.errors import DatasetError, HmdrnError
from hmdrn_runtime.io.files import describe_os_error, expand_path, write_atomically

_SHOWN_ERRORS = 10
"""Photos that cannot be read, at most, that are named one by one."""


@click.command("label")
@click.argument("folder", metavar="DIR", type=PATH)
@gallery_option
@option("--bundle", default="default", help="The bundle that the gallery belongs to.")
@option(
    "--visits",
    type=PATH,
    help="Diary to write, which also remembers the photos.  [default: the folder's name and .visits, here]",
)
@option("--gap", type=FiniteRange(0), default=GAP_SECONDS, metavar="S", help="Most seconds within one visit.")
@photo_detector_options
@option("--csv", "csv_file", type=PATH, help="Table to write, a line for each photo.")
@option("--sort-into", type=PATH, metavar="FOLDER", help="Copy the photos to FOLDER/<species>/.")
@option("--link", is_flag=True, help="With --sort-into: symbolic links in place of copies.")
@option(
    "--visits-mb",
    type=FiniteRange(1),
    default=MAX_MEGABYTES,
    metavar="MB",
    help="Most megabytes of the diary.",
)
@threads_option
@json_option
def command(
    folder: Path,
    gallery: Path,
    bundle: str,
    visits: Path | None,
    gap: float,
    detector: DetectorOptions,
    csv_file: Path | None,
    sort_into: Path | None,
    link: bool,
    visits_mb: float,
    threads: int | None,
    as_json: bool,
) -> int:
    """Name the photos of a trail camera's card, DIR and its subfolders; nothing in DIR is changed.

    With --detect each subject that a detector finds is named, and photos without any are "not a subject".
    The photos of one trigger, by the times in their EXIF, are one visit; `hmdrn visits` shows, corrects and
    exports visits. Interrupted, or run again after the next round, it continues with the photos that are not
    in the diary yet.

    Exit code: 2 also if a photo cannot be read; the others are labeled.

    Example: hmdrn label card/ --gallery site7.gallery --csv card.csv --sort-into sorted/
    """
    card = expand_path(folder, DatasetError)
    diary = visits or Path(f"{card.resolve().name}.visits")
    for path, kind in ((diary, "visits"), (csv_file, "table"), (sort_into, "copies")):
        if path is not None:
            _check_outside(path, kind, card)
    diary = check_output_path(diary, "visits", [gallery])
    if csv_file is not None:
        csv_file = check_output_path(csv_file, "table", [gallery, diary])
    if link and sort_into is None:
        raise click.UsageError("--link is for --sort-into FOLDER")
    recognizer = load_with_notes(bundle, gallery, threads=threads)
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(progress())
        find = open_photo_detector(detector, card, threads, stack)
        store = stack.enter_context(VisitStore(diary, create=True, max_megabytes=visits_mb))
        result = label_card(store, recognizer, card, gap, report, find)
        files = list(list_files(store, card))
        if csv_file is not None:
            _write_csv(csv_file, files)
        copies = 0
        if sort_into is not None:
            copies = sort_files(files, card, expand_path(sort_into, HmdrnError), link, report)
    counts = _count(files)
    for name, error in list(result.errors.items())[:_SHOWN_ERRORS]:
        print_message(error if name in error else f"{name}: {error}")
    if len(result.errors) > _SHOWN_ERRORS:
        print_message(f"{len(result.errors) - _SHOWN_ERRORS} more photos cannot be read")
    if as_json:
        values = {
            "folder": str(card),
            "file": str(diary),
            "photos": result.photos,
            "labeled": result.labeled,
            "seen": result.seen,
            "visits": result.visits,
            "species": [{"text": text, "visits": v, "photos": p} for text, v, p in counts],
            "errors": [{"photo": name, "error": error} for name, error in result.errors.items()],
            "sorted": copies,
        }
        print_json("label", values)
    else:
        before = f", {result.seen} were labeled before" if result.seen else ""
        title = f"{result.labeled} photos of {card} labeled{before}: {result.visits} new visits in {diary}"
        rows = [[text, str(v), str(p)] for text, v, p in counts]
        print_table(title, ["species", "visits", "photos"], rows)
    return 2 if result.errors else 0


def _check_outside(path: Path, kind: str, card: Path) -> None:
    """Refuse an output in the card's folder."""
    target = expand_path(path, HmdrnError).resolve()
    if card.resolve() in (target, *target.parents):
        raise HmdrnError(f"cannot write {kind} {path}: it is on the card {card}, which stays as it is")


def _count(files: list[LabeledFile]) -> list[tuple[str, int, int]]:
    """Return each species with its number of visits and photos, the most frequent first."""
    visits: dict[str, set[int]] = {}
    photos: dict[str, int] = {}
    for file in files:
        if file.species:
            visits.setdefault(file.species, set()).update({file.row[2]} - {None})
            photos[file.species] = photos.get(file.species, 0) + 1
    return sorted(((text, len(v), photos[text]) for text, v in visits.items()), key=lambda c: (-c[2], c[0]))


def _write_csv(path: Path, files: list[LabeledFile]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(file.row for file in files)
    try:
        write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise HmdrnError(f"cannot write table {path}: {describe_os_error(error)}") from error
