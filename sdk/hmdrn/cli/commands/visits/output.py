"""Verbs of `hmdrn visits` that write files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import click
import PIL.Image

from hmdrn.cli.commands.visits.media_files import write_clip, write_pictures
from hmdrn.cli.commands.visits.options import file_argument, filter_options, format_local, limit_option
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, option
from hmdrn.cli.output import with_schema
from hmdrn.cli.output_paths import check_output_path
from hmdrn.plotting.contact_sheet import MAX_PHOTOS, Tile, check_sheet_path, draw_tiles
from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.folders import name_folder
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import check_not_input, describe_os_error, expand_path, write_atomically

CSV_COLUMNS = (
    *("id", "start", "end", "duration", "label", "known", "probability", "score", "nearest", "verdict"),
    *("source", "track", "frames", "model", "generation", "closed", "pictures", "clip"),
)


@click.command("export")
@file_argument
@filter_options
@option("--output", "-o", type=PATH, help="File to write, .csv or .json; without it CSV is printed.")
@option(
    "--pictures",
    type=PATH,
    metavar="FOLDER",
    help="Write the pictures too, FOLDER/<species>/<visit>-<n>.jpg, as `hmdrn enroll` reads them; only you "
    "can read them.",
)
@option(
    "--clips",
    type=PATH,
    metavar="FOLDER",
    help="Write the clips too, FOLDER/<species>/<visit>.webm, which only you can read.",
)
def export(
    file: Path, where: VisitFilter, output: Path | None, pictures: Path | None, clips: Path | None
) -> None:
    """Write visits as CSV or JSON, and their pictures and clips as files.

    Example: hmdrn visits export site7.visits --output visits.csv --pictures seen/
    """
    if output is not None:
        output = check_output_path(output, "visits", [file], (".csv", ".json"))
    with VisitStore(file) as store:
        visits = store.find(where)
        count = 0 if pictures is None else _write_pictures(store, visits, pictures)
        clip_count = 0 if clips is None else _write_clips(store, visits, clips)
    if output is None:
        click.echo(_to_csv(visits), nl=False)
    else:
        values = with_schema("visits.list", {"file": str(file), "visits": [v.to_dict() for v in visits]})
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        try:
            write_atomically(output, (text if output.suffix.lower() == ".json" else _to_csv(visits)).encode())
        except OSError as error:
            raise HmdrnError(f"cannot write visits {output}: {describe_os_error(error)}") from error
        print_message(f"wrote {len(visits)} visits to {output}")
    if pictures is not None:
        print_message(f"wrote {count} pictures to {pictures}")
    if clips is not None:
        print_message(f"wrote {clip_count} clips to {clips}")


@click.command("sheet")
@file_argument
@filter_options
@limit_option
@option("--output", "-o", type=PATH, required=True, help="Picture to write: .png, .jpg or .webp.")
def sheet(file: Path, where: VisitFilter, limit: int | None, output: Path) -> None:
    """Draw a contact sheet: one picture of each visit, by species.

    Example: hmdrn visits sheet site7.visits --output visits.jpg
    """
    output = check_sheet_path(output)
    check_not_input(output, "picture", [file], HmdrnError)
    with VisitStore(file) as store:
        visits = [v for v in store.find(where, limit or MAX_PHOTOS, newest_first=True) if v.pictures]
        if not visits:
            raise HmdrnError(f"no visits with pictures to draw in {file}: check the conditions")
        groups: dict[str, list[Tile]] = {}
        for visit in visits:
            groups.setdefault(visit.naming.text, []).append(_make_tile(store, visit))
    draw_tiles([(f"{text}  -  {len(tiles)} visits", tiles) for text, tiles in sorted(groups.items())], output)
    print_message(f"drew {len(visits)} visits: {output}")


def _make_tile(store: VisitStore, visit: Visit) -> Tile:
    typical = [picture for picture in visit.pictures if "typical" in picture.reasons]
    picture = (typical or visit.pictures)[0]
    image = PIL.Image.open(io.BytesIO(store.read_picture(picture.id))).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return Tile(square, f"{visit.id}. {format_local(visit)}")


def _to_csv(visits: Sequence[Visit]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for visit in visits:
        values = {**visit.to_dict(), "pictures": len(visit.pictures), "clip": visit.clip is not None}
        writer.writerow([_to_cell(values[column]) for column in CSV_COLUMNS])
    return text.getvalue()


def _to_cell(value: object) -> object:
    """Return a value for spreadsheets, which would compute a text that begins like a formula."""
    if isinstance(value, bool):
        return int(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _write_pictures(store: VisitStore, visits: Sequence[Visit], folder: Path) -> int:
    target = expand_path(folder, HmdrnError)
    return sum(len(write_pictures(store, visit, target / name_folder(visit.naming.text))) for visit in visits)


def _write_clips(store: VisitStore, visits: Sequence[Visit], folder: Path) -> int:
    target = expand_path(folder, HmdrnError)
    with_clips = [visit for visit in visits if visit.clip is not None]
    for visit in with_clips:
        write_clip(store, visit.id, target / name_folder(visit.naming.text) / f"{visit.id}.webm")
    return len(with_clips)
