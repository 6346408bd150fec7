"""The verbs of `hmdrn gallery` that change nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hmdrn.cli.messages import print_message
from hmdrn.cli.options import json_option, print_facts, print_json, print_table
from hmdrn.cli.threshold_summary import rate_text
from hmdrn.loading import load
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.diff import difference
from hmdrn_runtime.gallery.file import load_gallery, previous_path
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.reverse_index import Register
from hmdrn_runtime.io.files import user_path
from hmdrn_runtime.migration import Move, move_of
from hmdrn_runtime.open_set.threshold import MADE_EARLIER, made_earlier, rate_of


def _expanded(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    return user_path(value, GalleryError)


gallery_argument = click.argument(
    "gallery", metavar="GALLERY", type=click.Path(path_type=Path), callback=_expanded
)
bundle_option = click.option("--bundle", "-b", metavar="BUNDLE", help="Bundle to check the gallery against.")


@click.command("list")
@gallery_argument
@json_option
def list_species(gallery: Path, as_json: bool) -> None:
    """List the species of a gallery with their number of photos.

    Example: hmdrn gallery list site7.gallery
    """
    found = load_gallery(gallery)
    far = rate_of(found.calibration)
    if as_json:
        species = [{"label": s.label, "shots": s.shots} for s in found.species.values()]
        print_json("gallery.list", {"gallery": str(gallery), "species": species, "far": far})
        return
    rows = [[s.label, str(s.shots)] for s in found.species.values()]
    print_table(f"{len(found)} species in {gallery}", ["species", "photos"], rows)
    click.echo(f"{gallery} is {rate_text(far)}")


@click.command("show")
@gallery_argument
@click.argument("label")
@json_option
def show(gallery: Path, label: str, as_json: bool) -> None:
    """Show the photos of the species LABEL, by the digests that `forget --photo` takes.

    Example: hmdrn gallery show site7.gallery "Sooty Albatross"
    """
    found = load_gallery(gallery)
    (species,) = found.choose([label]).values()
    far = rate_of(found.calibration)
    photos = [
        {"digest": p.digest, "variant": p.variant, "thumbnail": p.thumbnail is not None, "compacted": False}
        for p in (species.photos[digest] for digest in sorted(species.photos))
    ]
    for part in species.sums:
        of_sum = {"variant": part.variant, "thumbnail": False, "compacted": True}
        photos += [{"digest": digest, **of_sum} for digest in part.digests]
    if as_json:
        values = {"gallery": str(gallery), "label": species.label, "photos": photos, "far": far}
        print_json("gallery.show", values)
        return
    columns = ["photo", "variant", "thumbnail", "compacted"]
    rows = [
        [str(p["digest"]), str(p["variant"]), *("yes" if p[key] else "no" for key in columns[2:])]
        for p in photos
    ]
    print_table(f"{species.shots} photos of {species.label}", columns, rows)
    click.echo(f"{gallery} is {rate_text(far)}")


@click.command("history")
@gallery_argument
@json_option
def history(gallery: Path, as_json: bool) -> None:
    """Show the last changes of a gallery, oldest first.

    Example: hmdrn gallery history site7.gallery
    """
    found = load_gallery(gallery)
    if as_json:
        changes = [asdict(change) for change in found.history]
        print_json(
            "gallery.history",
            {"gallery": str(gallery), "generation": found.generation, "history": changes},
        )
        return
    rows = [[c.when, str(c.generation), c.what, c.label or "-"] for c in found.history]
    print_table(f"{gallery}, generation {found.generation}", ["when", "generation", "what", "species"], rows)


@click.command("diff")
@click.argument("first", metavar="GALLERY", type=click.Path(path_type=Path))
@click.argument("second", metavar="OTHER", type=click.Path(path_type=Path))
@json_option
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Tell in what OTHER differs from GALLERY, species by species and photo by photo.

    Example: hmdrn gallery diff site7.gallery.previous site7.gallery
    """
    found = difference(load_gallery(first), load_gallery(second))
    if as_json:
        differing = [
            {"label": label, "only_first": one, "only_second": two}
            for label, (one, two) in found.differing.items()
        ]
        values = {"first": str(first), "second": str(second), "equal": not found}
        lists = {"only_first": found.only_first, "only_second": found.only_second}
        renamed = dict(found.renamed)
        print_json("gallery.diff", {**values, **lists, "differing": differing, "renamed": renamed})
        return
    rows = [[label, "only there", _also(found.renamed.get(label)), ""] for label in found.only_first]
    rows += [[label, "", "only there", ""] for label in found.only_second]
    rows += [
        [label, f"{len(one)} photos more", f"{len(two)} photos more", _digests(one, two)]
        for label, (one, two) in found.differing.items()
    ]
    if not rows:
        click.echo("the same species with the same photos")
        return
    print_table("", ["species", str(first), str(second), "photos"], sorted(rows))


@click.command("verify")
@gallery_argument
@bundle_option
@json_option
def verify(gallery: Path, bundle: str | None, as_json: bool) -> None:
    """Check that a gallery is whole: its digest, its thumbnails, and with --bundle that it can be used there.

    With --bundle every species is solved, and what it costs is told where photos were enrolled with another
    precision of the network. A gallery that is damaged or of another network ends with exit code 2.

    Example: hmdrn gallery verify site7.gallery --bundle default
    """
    found = load_gallery(gallery)
    move: Move | None = None
    about: str | None = None
    if bundle is not None:
        recognizer = load(bundle, gallery)
        if found.species:
            recognizer.matcher.class_operands(list(found.species.values()))
        move = move_of(found, recognizer.bundle)
        about = recognizer.calibration_doubt
    shots = sum(s.shots for s in found.species.values())
    thumbnails = sum(p.thumbnail is not None for s in found.species.values() for p in s.photos.values())
    before = _previous(gallery)
    doubts = doubts_of(found)
    doubts += [about] if about is not None and about not in doubts else []
    if as_json:
        values = {"gallery": str(gallery), "bundle": bundle, "species": len(found), "photos": shots}
        more = {"generation": found.generation, "thumbnails": thumbnails, "previous": before}
        moved = None if move is None else move.to_dict()
        print_json("gallery.verify", {**values, **more, "move": moved, "doubts": doubts})
        return
    print_facts(
        f"{gallery} is whole",
        [
            ("generation", str(found.generation)),
            ("species", str(len(found))),
            ("photos", f"{shots}, {thumbnails} with thumbnail"),
            ("generation before", before or "none"),
            *((("for bundle", f"{bundle}: fits, every species solved"),) if bundle else ()),
            *((("precision", str(move)),) if move else ()),
        ],
    )
    for doubt in doubts:
        print_message(f"warning: {doubt}")


def doubts_of(gallery: Gallery) -> list[str]:
    """What is allowed in a gallery and hardly meant, a line each."""
    doubts = []
    register = Register()
    register.follow(gallery.species)
    for label, species in gallery.species.items():
        for other in register.holders(label, species.digests):
            if label < other:
                doubts.append(f"{label!r} and {other!r} hold the same photo: forget it in one of them")
        for other in register.lookalikes(label):
            if label < other:
                doubts.append(f"{label!r} and {other!r} count as two species: rename one if they are one")
    if made_earlier(gallery.calibration):
        doubts.append(MADE_EARLIER)
    return doubts


def _previous(gallery: Path) -> str | None:
    """Whether the generation before is there and whole; None where there is none."""
    path = previous_path(gallery)
    if not path.exists():
        return None
    try:
        return f"whole, generation {load_gallery(path).generation}"
    except GalleryError:
        return "damaged"


def _also(label: str | None) -> str:
    return f"called {label}" if label else ""


def _digests(*photos: tuple[str, ...]) -> str:
    return " ".join(digest[:8] for part in photos for digest in part)
