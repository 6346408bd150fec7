"""The verbs of `hmdrn gallery` that change one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.commands.gallery.inspect import doubts_of, gallery_argument
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import json_option, print_json, print_table
from hmdrn.cli.threshold_summary import calibrate_line
from hmdrn_runtime.gallery.file import edit_gallery, load_gallery
from hmdrn_runtime.gallery.gallery import Gallery, MergeReport
from hmdrn_runtime.open_set.threshold import rate_of


@click.command("merge")
@gallery_argument
@click.argument("others", metavar="OTHER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def merge(gallery: Path, others: tuple[Path, ...], as_json: bool) -> None:
    """Take the species of every OTHER into GALLERY, which is made if missing.

    Exact, and the same in whatever order. A species that both have, with different photos, becomes one with
    the photos of both, and is reported.

    Example: hmdrn gallery merge all.gallery site7.gallery site8.gallery
    """
    loaded = [load_gallery(other) for other in others]
    with edit_gallery(gallery, loaded[0].network) as target:
        rates = [rate_of(one.calibration) for one in (target, *loaded)]
        reports = [target.merge(other) for other in loaded]
    _tell_merges(gallery, target, list(zip(others, reports, strict=True)), rates, as_json)


@click.command("import")
@gallery_argument
@click.argument("other", metavar="OTHER", type=click.Path(path_type=Path))
@click.argument("labels", metavar="LABEL...", nargs=-1, required=True)
@json_option
def import_species(gallery: Path, other: Path, labels: tuple[str, ...], as_json: bool) -> None:
    """Take the species LABEL... of OTHER into GALLERY, which is made if missing.

    Example: hmdrn gallery import site7.gallery site8.gallery "Sooty Albatross"
    """
    _copy(other, gallery, labels, as_json)


@click.command("export")
@gallery_argument
@click.argument("output", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.argument("labels", metavar="[LABEL]...", nargs=-1)
@json_option
def export_species(gallery: Path, output: Path, labels: tuple[str, ...], as_json: bool) -> None:
    """Copy the species LABEL..., or all, into the gallery OUTPUT, which is made if missing.

    Example: hmdrn gallery export site7.gallery albatrosses.gallery "Sooty Albatross" "Laysan Albatross"
    """
    _copy(gallery, output, labels or None, as_json)


@click.command("forget")
@gallery_argument
@click.argument("label")
@click.option("--photo", metavar="DIGEST", help="Only this photo: the beginning of its digest.")
@json_option
def forget(gallery: Path, label: str, photo: str | None, as_json: bool) -> None:
    """Remove the species LABEL, or one photo of it; the last photo takes the species with it.

    Example: hmdrn gallery forget site7.gallery "Sooty Albatross" --photo 3fa85f64
    """
    with edit_gallery(gallery) as target:
        (old,) = target.choose([label]).values()
        target.forget(label, photo)
    now = target.species.get(old.label)
    left = now.shots if now else 0
    if as_json:
        values = {"gallery": str(gallery), "label": old.label, "forgotten": old.shots - left}
        print_json("gallery.forget", {**values, "shots": left})
        return
    click.echo(
        f"forgot {old.shots - left} photos of {old.label}; it has {left} now, {gallery} {_size(target)}"
    )


@click.command("rename")
@gallery_argument
@click.argument("label")
@click.argument("new")
@click.option("--join", is_flag=True, help="If there is a species NEW already, make one of the two.")
@json_option
def rename(gallery: Path, label: str, new: str, join: bool, as_json: bool) -> None:
    """Give the species LABEL the name NEW.

    Example: hmdrn gallery rename site7.gallery "Albatros" "Sooty Albatross" --join
    """
    with edit_gallery(gallery) as target:
        (old,) = target.choose([label]).values()
        target.rename(label, new, join)
    (now,) = target.choose([new]).values()
    if as_json:
        values = {"gallery": str(gallery), "label": now.label, "renamed_from": old.label}
        print_json("gallery.rename", {**values, "shots": now.shots})
        return
    click.echo(f"{old.label} is {now.label} now, with {now.shots} photos")


@click.command("compact")
@gallery_argument
@click.argument("labels", metavar="[LABEL]...", nargs=-1)
@json_option
def compact(gallery: Path, labels: tuple[str, ...], as_json: bool) -> None:
    """Keep one sum of each species (LABEL..., or all) in place of its photos' statistics: a smaller file.

    Classification answers as before. Lost for good: forgetting a single photo, telling at enrollment which
    photo does not fit the others, thumbnails, and merging with a compacted gallery that shares some photos.

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


def _copy(source: Path, target: Path, labels: Sequence[str] | None, as_json: bool) -> None:
    loaded = load_gallery(source)
    if labels is not None:
        loaded.choose(labels)  # before a gallery is made for what is not there
    with edit_gallery(target, loaded.network) as gallery:
        rates = [rate_of(one.calibration) for one in (gallery, loaded)]
        report = gallery.merge(loaded, labels)
    _tell_merges(target, gallery, [(source, report)], rates, as_json)


def _tell_merges(
    path: Path,
    gallery: Gallery,
    reports: Sequence[tuple[Path, MergeReport]],
    rates: Sequence[float | None],
    as_json: bool,
) -> None:
    """What came into a gallery, from where; `rates` are those of the calibrations that there were before."""
    doubts = doubts_of(gallery)
    had = [rate for rate in rates if rate is not None]
    if had and gallery.calibration is None:
        doubts.append(
            f"{path} is not calibrated, since a calibration is for the species it was made with: run "
            f"{calibrate_line(path, far=had[0])}"
        )
    if as_json:
        merged: list[dict[str, Any]] = [
            {"gallery": str(other), "added": report.added, "extended": dict(report.extended)}
            for other, report in reports
        ]
        values = {"gallery": str(path), "species": len(gallery), "merged": merged, "doubts": doubts}
        print_json("gallery.merge", values)
        return
    rows = [
        [label, str(other), what]
        for other, report in reports
        for label, what in (
            *((label, "new") for label in report.added),
            *((label, f"one species now, {n} photos more") for label, n in report.extended.items()),
        )
    ]
    if rows:
        print_table(f"{path} {_size(gallery)}", ["species", "from", "what"], sorted(rows))
    else:
        click.echo(f"nothing new: {path} {_size(gallery)}")
    for doubt in doubts:
        print_message(f"warning: {doubt}")


def _size(gallery: Gallery) -> str:
    return f"has {len(gallery)} species"
