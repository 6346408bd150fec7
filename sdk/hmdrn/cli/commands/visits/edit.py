"""Verbs of `hmdrn visits` that correct names, and the inbox of strangers."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.commands.visits.options import (
    bundle_option,
    file_argument,
    filter_options,
    format_local,
    ids_argument,
)
from hmdrn.cli.gallery_notes import load_with_notes
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, gallery_option, json_option, option
from hmdrn.cli.output import print_json, print_table, progress
from hmdrn.cli.parameters import FiniteRange
from hmdrn.visits.changes import list_changes
from hmdrn.visits.corrections import choose_new_label, correct_visits, rename_visits, undo_change
from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.inbox import MAX_VISITS, STRICTNESS, group_unknown_visits
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.messages import suggest_names

_optional_gallery_option = option("--gallery", "-g", type=PATH, help="Gallery file that learns the pictures.")


@click.command("correct")
@file_argument
@ids_argument
@option("--is", "label", metavar="SPECIES", help="The right species, known to the gallery or new.")
@option(
    "--new", "is_new", is_flag=True, help="A species without a name yet: it is called New species 1, 2, ..."
)
@option("--not-a-subject", is_flag=True, help="The pictures show no animal or plant at all.")
@_optional_gallery_option
@bundle_option
@json_option
def correct(
    file: Path,
    ids: tuple[int, ...],
    label: str | None,
    is_new: bool,
    not_a_subject: bool,
    gallery: Path | None,
    bundle: str,
    as_json: bool,
) -> None:
    """Give the visits ID... their right name, and teach the gallery their pictures.

    The next visit of that kind is named by the better gallery: a running `hmdrn watch` follows its file. Name
    earlier ones anew with `hmdrn visits rename`. `hmdrn visits undo` takes it back, in the gallery too.

    Example: hmdrn visits correct site7.visits 1 --is "Wandering Albatross" --gallery site7.gallery
    """
    if (label is not None) + is_new + not_a_subject != 1:
        raise click.UsageError("give one of --is SPECIES, --new and --not-a-subject")
    if gallery is None and not not_a_subject:
        raise click.UsageError("give the --gallery that learns the pictures")
    recognizer = None if gallery is None else load_with_notes(bundle, gallery)
    if is_new and recognizer is not None:
        label = choose_new_label(recognizer)
    with VisitStore(file) as store:
        guess = ""
        if recognizer is not None and label is not None and label not in recognizer.gallery:
            guess = suggest_names(label, recognizer.gallery)
        correction = correct_visits(store, ids, label, recognizer, gallery)
    if as_json:
        values = {
            "file": str(file),
            "label": correction.label,
            "new": correction.is_new,
            "enrolled": correction.enrolled,
            "removed": correction.removed,
            "visits": [visit.to_dict() for visit in correction.visits],
        }
        print_json("visits.correct", values)
        return
    count = _count(len(correction.visits), "visit")
    if correction.label is None:
        click.echo(f"{count}: not a subject")
    else:
        new = ", which is new to the gallery" if correction.is_new and correction.enrolled else ""
        learned = f"{_count(correction.enrolled, 'picture')} enrolled"
        if not correction.enrolled:
            learned = "no pictures, so the gallery learns nothing"
        click.echo(f"{count}: {correction.label}{new}; {learned}")
    if correction.removed:
        click.echo(
            f"{_count(correction.removed, 'picture')} of an earlier correction removed from the gallery"
        )
    if guess:
        print_message(f"note: {correction.label} is a new species; {guess}hmdrn visits undo takes it back")


@click.command("rename")
@file_argument
@filter_options
@gallery_option
@bundle_option
@json_option
def rename(file: Path, where: VisitFilter, gallery: Path, bundle: str, as_json: bool) -> None:
    """Name visits anew by their pictures, with the gallery as it is now.

    Visits that a person corrected keep their name. `hmdrn visits undo` takes it back.

    Example: hmdrn visits rename site7.visits --since 7d --gallery site7.gallery
    """
    recognizer = load_with_notes(bundle, gallery)
    with VisitStore(file) as store, progress() as report:
        pairs = rename_visits(store, recognizer, where, report)
    if as_json:
        changed = [{"id": new.id, "before": old.label, "label": new.label} for old, new in pairs]
        print_json("visits.rename", {"file": str(file), "changed": changed})
        return
    if pairs:
        rows = [[str(new.id), format_local(new), old.naming.text, new.naming.text] for old, new in pairs]
        print_table(f"{_count(len(pairs), 'visit')} renamed", ["visit", "start", "before", "now"], rows)
    else:
        click.echo("every visit keeps its name")


@click.command("undo")
@file_argument
@_optional_gallery_option
@bundle_option
@json_option
def undo(file: Path, gallery: Path | None, bundle: str, as_json: bool) -> None:
    """Take back the last correction or renaming, also in the gallery that it taught.

    Repeat it to take back the one before. The gallery is the one that was corrected, unless --gallery names
    another path of it.

    Example: hmdrn visits undo site7.visits
    """
    with VisitStore(file) as store:
        last = next(iter(list_changes(store)), None)
        recognizer = None
        if last is not None and (last.enrolled or last.removed):
            gallery = gallery or (None if last.gallery is None else Path(last.gallery))
            recognizer = None if gallery is None else load_with_notes(bundle, gallery)
        change = undo_change(store, recognizer, gallery)
    if as_json:
        values = {"file": str(file), "kind": change.kind, "visits": list(change.visits)}
        print_json("visits.undo", {**values, "forgotten": len(change.enrolled)})
        return
    kind = {"correct": "correction", "rename": "renaming"}[change.kind]
    unlearned = (
        f"; {_count(len(change.enrolled), 'picture')} removed from {gallery}" if change.enrolled else ""
    )
    click.echo(f"undone: the {kind} of {_count(len(change.visits), 'visit')}{unlearned}")


@click.command("inbox")
@file_argument
@filter_options
@gallery_option
@bundle_option
@option(
    "--strictness",
    type=FiniteRange(),
    default=STRICTNESS,
    help="Likeness from which two visits are of one group: higher makes more and surer groups.",
)
@option("--limit", type=click.IntRange(1), default=MAX_VISITS, metavar="N", help="Most visits, the newest.")
@json_option
def inbox(
    file: Path, where: VisitFilter, gallery: Path, bundle: str, strictness: float, limit: int, as_json: bool
) -> None:
    """Show the unknown visits in groups that look alike: one stranger is one question.

    Name a group with one `hmdrn visits correct` of its numbers.

    Example: hmdrn visits inbox site7.visits --gallery site7.gallery
    """
    recognizer = load_with_notes(bundle, gallery)
    with VisitStore(file) as store:
        groups = group_unknown_visits(store, recognizer, where, strictness, limit)
    if as_json:
        values = [
            {"likeness": round(group.likeness, 4), "visits": [visit.to_dict() for visit in group.visits]}
            for group in groups
        ]
        print_json("visits.inbox", {"file": str(file), "groups": values})
        return
    if not groups:
        click.echo(f"no unknown visits with pictures in {file}")
        return
    rows = []
    for group in groups:
        first, ids = group.visits[0], " ".join(str(visit.id) for visit in group.visits)
        nearest = first.naming.nearest or "-"
        rows.append([ids, str(len(group.visits)), str(first.id), nearest, format_local(first)])
    columns = ["visits of one group", "number", "look at", "most like", "start"]
    print_table(f"{_count(len(groups), 'question')} in {file}", columns, rows)
    click.echo(f"name a group: hmdrn visits correct {file} {rows[0][0]} --is SPECIES --gallery {gallery}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
