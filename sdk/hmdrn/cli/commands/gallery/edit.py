"""Verbs of `hmdrn gallery` that change a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.commands.gallery.inspect import find_doubts, gallery_argument
from hmdrn.cli.gallery_notes import warn_of_lookalikes
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, json_option, option, threads_option
from hmdrn.cli.output import print_json, print_table
from hmdrn.cli.threshold_summary import calibrate_command
from hmdrn.loading import load
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import check_gallery_path, edit_gallery, load_gallery, save_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.labels import select_lookalikes
from hmdrn_runtime.migration import reenroll as reenroll_gallery
from hmdrn_runtime.open_set.threshold import false_accept_rate as stored_rate


@click.command("merge")
@gallery_argument
@click.argument("others", metavar="OTHER...", nargs=-1, required=True, type=PATH)
@json_option
def merge(gallery: Path, others: tuple[Path, ...], as_json: bool) -> None:
    """Take the species of every OTHER into GALLERY, which is made if missing.

    The result is exact, and the same in any order. A species that both have, with different photos, becomes
    one with the photos of both, and is reported.

    Example: hmdrn gallery merge all.gallery site7.gallery site8.gallery
    """
    _merge(gallery, others, None, as_json)


@click.command("import")
@gallery_argument
@click.argument("other", metavar="OTHER", type=PATH)
@click.argument("labels", metavar="LABEL...", nargs=-1, required=True)
@json_option
def import_species(gallery: Path, other: Path, labels: tuple[str, ...], as_json: bool) -> None:
    """Take the species LABEL... of OTHER into GALLERY, which is made if missing.

    Example: hmdrn gallery import site7.gallery site8.gallery "Sooty Albatross"
    """
    _merge(gallery, [other], labels, as_json)


@click.command("export")
@gallery_argument
@click.argument("output", metavar="OUTPUT", type=PATH)
@click.argument("labels", metavar="[LABEL]...", nargs=-1)
@json_option
def export_species(gallery: Path, output: Path, labels: tuple[str, ...], as_json: bool) -> None:
    """Copy the species LABEL..., or all, into the gallery OUTPUT, which is made if missing.

    Example: hmdrn gallery export site7.gallery albatrosses.gallery "Sooty Albatross" "Laysan Albatross"
    """
    _merge(output, [gallery], labels or None, as_json)


@click.command("forget")
@gallery_argument
@click.argument("label")
@click.option(
    "--photo",
    metavar="NAME-OR-DIGEST",
    help="Only this photo: its file's name, or the beginning of its digest.",
)
@json_option
def forget(gallery: Path, label: str, photo: str | None, as_json: bool) -> None:
    """Remove the species LABEL, or one photo of it; the last photo takes the species with it.

    Example: hmdrn gallery forget site7.gallery "Sooty Albatross" --photo 0.jpg
    """
    with edit_gallery(gallery) as target:
        (old,) = target.select([label]).values()
        target.forget(label, photo)
    new = target.species.get(old.label)
    shots = new.shots if new else 0
    forgotten = old.shots - shots
    if as_json:
        values = {"gallery": str(gallery), "label": old.label, "forgotten": forgotten}
        print_json("gallery.forget", {**values, "shots": shots})
        return
    click.echo(f"forgot {forgotten} photos of {old.label}; it has {shots} now, {gallery} {_size(target)}")


@click.command("rename")
@gallery_argument
@click.argument("label")
@click.argument("new")
@click.option("--join", is_flag=True, help="Make one species of the two if NEW exists already.")
@json_option
def rename(gallery: Path, label: str, new: str, join: bool, as_json: bool) -> None:
    """Give the species LABEL the name NEW.

    Example: hmdrn gallery rename site7.gallery "Albatros" "Sooty Albatross" --join
    """
    with edit_gallery(gallery) as target:
        (old,) = target.select([label]).values()
        target.rename(label, new, join)
    (renamed,) = target.select([new]).values()
    warn_of_lookalikes(renamed.label, select_lookalikes(renamed.label, target.species))
    if as_json:
        values = {"gallery": str(gallery), "label": renamed.label, "renamed_from": old.label}
        print_json("gallery.rename", {**values, "shots": renamed.shots})
        return
    click.echo(f"{old.label} is {renamed.label} now, with {renamed.shots} photos")


@click.command("compact")
@gallery_argument
@click.argument("labels", metavar="[LABEL]...", nargs=-1)
@json_option
def compact(gallery: Path, labels: tuple[str, ...], as_json: bool) -> None:
    """Keep one sum of each species (LABEL..., or all) in place of its photos' statistics: a smaller file.

    Classification answers as before. Lost for good: forgetting a single photo, finding at enrollment the
    photos that do not fit the others, thumbnails, and merging with a compacted gallery that shares photos.

    Example: hmdrn gallery compact site7.gallery
    """
    before = gallery.stat().st_size if gallery.is_file() else 0
    with edit_gallery(gallery) as target:
        photos = target.compact(labels or None)
    after = gallery.stat().st_size
    lost = "photos can no longer be forgotten or compared one by one, and have no thumbnails"
    if as_json:
        values = {"gallery": str(gallery), "photos": photos, "lost": lost}
        print_json("gallery.compact", {**values, "bytes_before": before, "bytes": after})
        return
    click.echo(
        f"{photos} photos are sums now, {gallery} has {after / 1e6:.2f} MB of {before / 1e6:.2f} MB: {lost}"
    )


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
    rate = stored_rate(old.calibration)
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


def _merge(path: Path, others: Sequence[Path], labels: Sequence[str] | None, as_json: bool) -> None:
    """Merge species of other galleries, all if `labels` is None, into the one at `path`, and show them."""
    loaded = [load_gallery(other) for other in others]
    if labels is not None:
        loaded[0].select(labels)  # raises before a new gallery is made
    with edit_gallery(path, loaded[0].network) as gallery:
        rates = [stored_rate(g.calibration) for g in (gallery, *loaded)]
        reports = [gallery.merge(other, labels) for other in loaded]
    doubts = find_doubts(gallery)
    old_rates = [rate for rate in rates if rate is not None]
    if old_rates and gallery.calibration is None:
        doubts.append(
            f"{path} is not calibrated, since a calibration is for the species it was made with: run "
            f"{calibrate_command(path, rate=old_rates[0])}"
        )
    if as_json:
        merged: list[dict[str, Any]] = [
            {"gallery": str(other), "added": report.added, "extended": dict(report.extended)}
            for other, report in zip(others, reports, strict=True)
        ]
        values = {"gallery": str(path), "species": len(gallery), "merged": merged, "doubts": doubts}
        print_json("gallery.merge", values)
        return
    rows = [
        [label, str(other), change]
        for other, report in zip(others, reports, strict=True)
        for label, change in (
            *((label, "new") for label in report.added),
            *((label, f"one species now, {n} photos more") for label, n in report.extended.items()),
        )
    ]
    if rows:
        print_table(f"{path} {_size(gallery)}", ["species", "from", "change"], sorted(rows))
    else:
        click.echo(f"nothing new: {path} {_size(gallery)}")
    for doubt in doubts:
        print_message(f"warning: {doubt}")


def _size(gallery: Gallery) -> str:
    return f"has {len(gallery)} species"
