"""Verbs of `hmdrn gallery` that change nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hmdrn.cli.forecast_summary import describe_forecast
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, Decorator, json_option, option
from hmdrn.cli.output import print_facts, print_json, print_table
from hmdrn.cli.threshold_summary import describe_rate
from hmdrn.forecasting import forecast
from hmdrn.loading import load
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.diff import diff_galleries
from hmdrn_runtime.gallery.file import load_gallery, previous_path
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.labels import describe_lookalikes, fold_label
from hmdrn_runtime.gallery.photo_record import PhotoRecord, escape_name
from hmdrn_runtime.gallery.reverse_index import PhotoLabelIndex
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.migration import VariantMismatch, find_variant_mismatch
from hmdrn_runtime.open_set.threshold import false_accept_rate

gallery_argument: Decorator = click.argument(
    "gallery",
    metavar="GALLERY",
    type=PATH,
    callback=lambda context, parameter, path: expand_path(path, GalleryError),
)


@click.command("list")
@gallery_argument
@json_option
def list_species(gallery: Path, as_json: bool) -> None:
    """List the species of a gallery with their number of photos.

    Example: hmdrn gallery list site7.gallery
    """
    loaded = load_gallery(gallery)
    rate = false_accept_rate(loaded.calibration)
    if as_json:
        species = [{"label": s.label, "shots": s.shots} for s in loaded.species.values()]
        print_json("gallery.list", {"gallery": str(gallery), "species": species, "far": rate})
        return
    rows = [[s.label, str(s.shots)] for s in loaded.species.values()]
    print_table(f"{len(loaded)} species in {gallery}", ["species", "photos"], rows)
    click.echo(f"{gallery} is {describe_rate(rate)}")


@click.command("show")
@gallery_argument
@click.argument("label")
@option(
    "--bundle", "-b", metavar="BUNDLE", help="Show what to expect on new photos of LABEL with this bundle."
)
@json_option
def show(gallery: Path, label: str, bundle: str | None, as_json: bool) -> None:
    """Show the photos of the species LABEL, by the names and digests that `forget --photo` takes.

    Example: hmdrn gallery show site7.gallery "Sooty Albatross" --bundle default
    """
    loaded = load_gallery(gallery)
    (species,) = loaded.select([label]).values()
    rate = false_accept_rate(loaded.calibration)
    alike = [label for label in loaded.species if fold_label(label) == fold_label(species.label)]
    doubts = [f"{describe_lookalikes(alike)} look alike and count as {len(alike)} species"] * (len(alike) > 1)
    for doubt in doubts:
        print_message(f"warning: {doubt}")
    photos = [
        {
            "digest": p.digest,
            "variant": p.variant,
            "thumbnail": p.thumbnail is not None,
            "compacted": False,
            **{key: text or None for key, text in asdict(p.record).items()},
        }
        for p in species.list_photos()
    ]
    for part in species.sums:
        facts = {"variant": part.variant, "thumbnail": False, "compacted": True}
        unknown = dict.fromkeys(asdict(PhotoRecord()))
        photos += [{"digest": digest, **facts, **unknown} for digest in part.digests]
    expected = None if bundle is None else forecast(load(bundle, gallery))
    if expected is not None:
        expected = expected.select(species.label)
    if as_json:
        values = {"gallery": str(gallery), "label": species.label, "photos": photos, "far": rate}
        promise = None if expected is None else expected.to_dict()
        print_json("gallery.show", {**values, "forecast": promise, "doubts": doubts})
        return
    columns = ["photo", "verdict", "taken", "enrolled", "digest", "variant", "thumbnail"]
    rows = [
        [
            escape_name(str(p["name"] or "-")),
            "compacted" if p["compacted"] else escape_name(str(p["verdict"] or "-")),
            *(escape_name(str(p[key] or "-")) for key in ("taken", "enrolled")),
            *(str(p["digest"])[:12], str(p["variant"]), "yes" if p["thumbnail"] else "no"),
        ]
        for p in photos
    ]
    print_table(f"{species.shots} photos of {species.label}", columns, rows)
    click.echo(f"{gallery} is {describe_rate(rate)}")
    if expected is not None:
        click.echo(describe_forecast(expected))


@click.command("history")
@gallery_argument
@json_option
def history(gallery: Path, as_json: bool) -> None:
    """Show the last changes of a gallery, oldest first.

    Example: hmdrn gallery history site7.gallery
    """
    loaded = load_gallery(gallery)
    if as_json:
        values = {"gallery": str(gallery), "generation": loaded.generation}
        print_json("gallery.history", {**values, "history": [asdict(change) for change in loaded.history]})
        return
    rows = [[c.when, str(c.generation), c.what, c.label or "-"] for c in loaded.history]
    print_table(f"{gallery}, generation {loaded.generation}", ["when", "generation", "what", "species"], rows)


@click.command("diff")
@click.argument("first", metavar="GALLERY", type=PATH)
@click.argument("second", metavar="OTHER", type=PATH)
@json_option
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Show how OTHER differs from GALLERY, species by species and photo by photo.

    Example: hmdrn gallery diff site7.gallery.previous site7.gallery
    """
    difference = diff_galleries(load_gallery(first), load_gallery(second))
    renamed = dict(difference.renamed)
    if as_json:
        differing = [
            {"label": label, "only_first": mine, "only_second": other}
            for label, (mine, other) in difference.differing.items()
        ]
        values = {"first": str(first), "second": str(second), "equal": not difference}
        lists = {"only_first": difference.only_first, "only_second": difference.only_second}
        print_json("gallery.diff", {**values, **lists, "differing": differing, "renamed": renamed})
        return
    rows = [
        [label, "only there", f"called {renamed[label]}" if label in renamed else "", ""]
        for label in difference.only_first
    ]
    rows += [[label, "", "only there", ""] for label in difference.only_second]
    for label, (mine, other) in difference.differing.items():
        digests = " ".join(digest[:8] for digest in (*mine, *other))
        rows.append([label, f"{len(mine)} photos more", f"{len(other)} photos more", digests])
    if not rows:
        click.echo("the same species with the same photos")
        return
    print_table("", ["species", str(first), str(second), "photos"], sorted(rows))


@click.command("verify")
@gallery_argument
@option("--bundle", "-b", metavar="BUNDLE", help="Bundle to check the gallery against.")
@json_option
def verify(gallery: Path, bundle: str | None, as_json: bool) -> None:
    """Check that a gallery is whole: its digest, its thumbnails, and with --bundle that it fits the bundle.

    With --bundle every species is solved, and the cost is shown where photos were enrolled with another
    precision of the network. A gallery that is damaged or of another network ends with exit code 2.

    Example: hmdrn gallery verify site7.gallery --bundle default
    """
    loaded = load_gallery(gallery)
    mismatch: VariantMismatch | None = None
    doubts = find_doubts(loaded)
    if bundle is not None:
        recognizer = load(bundle, gallery)
        if loaded.species:
            recognizer.matcher.class_operands(list(loaded.species.values()))
        mismatch = find_variant_mismatch(loaded, recognizer.bundle)
        if recognizer.calibration_issue is not None:
            doubts.append(recognizer.calibration_issue)
    shots = sum(s.shots for s in loaded.species.values())
    thumbnails = sum(p.thumbnail is not None for s in loaded.species.values() for p in s.photos.values())
    previous = _check_previous(gallery)
    if as_json:
        values = {"gallery": str(gallery), "bundle": bundle, "species": len(loaded), "photos": shots}
        values |= {"generation": loaded.generation, "thumbnails": thumbnails, "previous": previous}
        move = None if mismatch is None else mismatch.to_dict()
        print_json("gallery.verify", {**values, "move": move, "doubts": doubts})
        return
    print_facts(
        f"{gallery} is whole",
        [
            ("generation", str(loaded.generation)),
            ("species", str(len(loaded))),
            ("photos", f"{shots}, {thumbnails} with thumbnail"),
            ("generation before", previous or "none"),
            *((("for bundle", f"{bundle}: fits, every species solved"),) if bundle else ()),
            *((("precision", str(mismatch)),) if mismatch else ()),
        ],
    )
    for doubt in doubts:
        print_message(f"warning: {doubt}")


def find_doubts(gallery: Gallery) -> list[str]:
    """Return a line for each thing that is allowed in a gallery but probably a mistake."""
    doubts = []
    index = PhotoLabelIndex()
    index.update(gallery.species)
    for label, species in gallery.species.items():
        for other in index.find_holders(label, species.digests):
            if label < other:
                doubts.append(f"{label!r} and {other!r} hold the same photo: forget it in one of them")
        for other in index.find_lookalikes(label):
            if label < other:
                pair = describe_lookalikes([label, other])
                doubts.append(f"{pair} look alike and count as two species: rename one if they are one")
    return doubts


def _check_previous(gallery: Path) -> str | None:
    """Return "whole, generation N" or "damaged" for the generation before; None where there is none."""
    path = previous_path(gallery)
    if not path.exists():
        return None
    try:
        return f"whole, generation {load_gallery(path).generation}"
    except GalleryError:
        return "damaged"
