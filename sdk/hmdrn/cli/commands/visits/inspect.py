"""Verbs of `hmdrn visits` that print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hmdrn.cli.commands.visits.media_files import write_clip, write_pictures
from hmdrn.cli.commands.visits.options import (
    file_argument,
    filter_options,
    format_duration,
    format_evidence,
    format_local,
    limit_option,
)
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, json_option, option, require_package
from hmdrn.cli.output import print_facts, print_json, print_table
from hmdrn.cli.output_paths import check_output_path
from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.statistics import VisitStatistics, count_visits
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import expand_path


@click.command("list")
@file_argument
@filter_options
@limit_option
@json_option
def list_visits(file: Path, where: VisitFilter, limit: int | None, as_json: bool) -> None:
    """List visits, by the time of their start.

    Example: hmdrn visits list site7.visits --species "Sooty Albatross" --since 7d
    """
    with VisitStore(file) as store:
        visits = store.find(where, limit, newest_first=limit is not None)
        if where.species and not visits:
            _print_species(store, where)
    if limit is not None:
        visits.reverse()
    if as_json:
        print_json("visits.list", {"file": str(file), "visits": [visit.to_dict() for visit in visits]})
        return
    rows = [
        [
            str(visit.id),
            format_local(visit),
            format_duration(visit.duration) + ("" if visit.closed else " so far"),
            visit.naming.text,
            format_evidence(visit),
            str(len(visit.pictures)),
            visit.source,
        ]
        for visit in visits
    ]
    columns = ["visit", "start", "duration", "species", "evidence", "pictures", "source"]
    print_table(f"{len(visits)} visits in {file}", columns, rows)


def _print_species(store: VisitStore, where: VisitFilter) -> None:
    rows = store.query("SELECT DISTINCT label FROM visits WHERE label IS NOT NULL ORDER BY label")
    present = ", ".join(label for (label,) in rows) or "no species"
    print_message(f"no such visits of {' or '.join(where.species)}: the diary has {present}")


@click.command("show")
@file_argument
@click.argument("number", metavar="ID", type=int)
@option("--pictures", "-p", type=PATH, metavar="FOLDER", help="Write its pictures into this folder.")
@option("--clip", "-c", type=PATH, help="Write its clip to this file, .webm; browsers and players play it.")
@json_option
def show(file: Path, number: int, pictures: Path | None, clip: Path | None, as_json: bool) -> None:
    """Show one visit, and write its pictures and its clip as files.

    Example: hmdrn visits show site7.visits 1 --pictures visit1/
    """
    if clip is not None:
        clip = check_output_path(clip, "clip", [file], (".webm",))
    with VisitStore(file) as store:
        visit = store.get(number)
        files = []
        if pictures is not None:
            written = write_pictures(store, visit, expand_path(pictures, HmdrnError))
            files = [str(path) for path in written]
        if clip is not None:
            write_clip(store, number, clip)
            files.append(str(clip))
    if as_json:
        print_json("visits.show", {"file": str(file), "visit": visit.to_dict(), "files": files})
        return
    naming = visit.naming
    by = f"{naming.model[:12]}, generation {naming.generation} of the gallery" if naming.model else "-"
    facts = [
        ("visit", str(visit.id)),
        ("start", format_local(visit)),
        ("duration", f"{format_duration(visit.duration)}, {visit.frames} frames"),
        ("species", naming.text),
        ("evidence", format_evidence(visit)),
        ("named by", by),
        ("source", visit.source),
        *(
            (f"picture {picture.id}", f"{picture.width}x{picture.height}, {', '.join(picture.reasons)}")
            for picture in visit.pictures
        ),
        *(
            [("clip", f"{visit.clip.width}x{visit.clip.height}, {format_duration(visit.clip.duration)}")]
            if visit.clip
            else []
        ),
        *(("file", name) for name in files),
    ]
    print_facts("", facts)


@click.command("stats")
@file_argument
@filter_options
@option("--output", "-o", type=PATH, help="Draw the species by hour and by day (.png, .svg; extra `plots`).")
@json_option
def stats(file: Path, where: VisitFilter, output: Path | None, as_json: bool) -> None:
    """Count visits by species, by hour of the day and by day, in local time.

    Example: hmdrn visits stats site7.visits --output species.png
    """
    if output is not None:
        require_package("matplotlib", "drawing statistics", "plots")
        output = check_output_path(output, "picture", [file])
    with VisitStore(file) as store:
        statistics = count_visits(store.find(where))
    if output is not None:
        if not statistics.species:
            raise HmdrnError(f"no visits to draw in {file}: check the conditions")
        from hmdrn.plotting.visits import draw_visits

        draw_visits(statistics, output)
    if as_json:
        print_json("visits.stats", {"file": str(file), **statistics.to_dict()})
        return
    print_table(f"{statistics.visits} visits in {file}", _COLUMNS, _rows(statistics))
    if output is not None:
        click.echo(f"drew {output}")


_COLUMNS = ["species", "visits", "time", "first", "last", "most at"]


def _rows(statistics: VisitStatistics) -> list[list[str]]:
    rows: list[list[Any]] = []
    for species in statistics.species:
        hour = max(range(24), key=species.hours.__getitem__)
        rows.append(
            [
                species.text,
                str(species.visits),
                format_duration(species.seconds),
                f"{species.first.astimezone():%Y-%m-%d}",
                f"{species.last.astimezone():%Y-%m-%d}",
                f"{hour:02d}:00-{hour:02d}:59",
            ]
        )
    return rows
