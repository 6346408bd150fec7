"""`hmdrn gallery sheet`."""

from __future__ import annotations

from pathlib import Path

import click
from PIL import Image

from hmdrn.cli.commands.gallery.inspect import gallery_argument
from hmdrn.cli.options import PATH, json_option, option
from hmdrn.cli.output import print_json
from hmdrn.plotting.contact_sheet import MAX_PHOTOS, Tile, check_sheet_path, choose_verdict_color, draw_tiles
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.gallery.photo_record import escape_name
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.io.files import check_not_input


@click.command("sheet")
@gallery_argument
@click.argument("labels", metavar="[LABEL]...", nargs=-1)
@option("--output", "-o", required=True, type=PATH, help="Picture to draw (.png, .jpg, .webp).")
@json_option
def sheet(gallery: Path, labels: tuple[str, ...], output: Path, as_json: bool) -> None:
    """Draw the photos of the species LABEL..., or of all, with names and verdicts, from their thumbnails.

    Photos have one if they were enrolled with --keep-thumbnails.

    Example: hmdrn gallery sheet site7.gallery -o site7.png
    """
    output = check_sheet_path(output)
    check_not_input(output, "picture", [gallery], GalleryError)
    loaded = load_gallery(gallery)
    species = loaded.select(labels or loaded)
    groups = [(_describe(s), [_make_tile(p) for p in _list_drawn(s)]) for s in species.values()]
    tiles = sum(len(members) for _, members in groups)
    photos = sum(s.shots for s in species.values())
    if not tiles:
        raise GalleryError(
            f"no photo of {gallery} has a thumbnail to draw: enroll the photos again, with --keep-thumbnails"
        )
    draw_tiles(groups, output)
    drawn = min(tiles, MAX_PHOTOS)
    if as_json:
        values = {"gallery": str(gallery), "output": str(output), "species": list(species)}
        print_json("gallery.sheet", {**values, "photos": photos, "drawn": drawn})
        return
    click.echo(f"wrote {output}, {drawn} of {photos} photos")


def _list_drawn(species: Species) -> list[PhotoStatistics]:
    return [photo for photo in species.list_photos() if photo.thumbnail is not None]


def _describe(species: Species) -> str:
    missing = species.shots - len(_list_drawn(species))
    return f"{species.label}  -  {missing} photos without thumbnail" if missing else species.label


def _make_tile(photo: PhotoStatistics) -> Tile:
    pixels, record = photo.pixels, photo.record
    assert pixels is not None
    text = " ".join([escape_name(record.name) or photo.digest[:12], record.verdict])
    return Tile(Image.fromarray(pixels), text, choose_verdict_color(record.verdict))
