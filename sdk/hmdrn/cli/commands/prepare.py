"""`hmdrn prepare`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.options import json_option, print_json, print_table, progress, require
from hmdrn.dataset_prep.originals import ORIGINALS
from hmdrn.dataset_prep.prepare import Choices, prepare


@click.command("prepare")
@click.argument("dataset", type=click.Choice(list(ORIGINALS)))
@click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Zip to write.")
@click.option(
    "--crop/--no-crop", default=None, help="Cut photos to the annotated box; the default for cub only."
)
@click.option(
    "--side",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Most pixels of the shorter side; 0 keeps photos as they are where nothing is cut off.",
)
@click.option(
    "--split",
    "rule",
    type=click.Choice(
        list(dict.fromkeys(rule for original in ORIGINALS.values() for rule in original.rules))
    ),
    help="Rule of the split: hmdrn (cub), frn (cub, aircraft), chen (cub), seeded. The first that is "
    "offered is the default.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of --split seeded.")
@click.option(
    "--split-file",
    type=click.Path(path_type=Path),
    help='JSON file {"train": [class names], "val": [...], "test": [...]} instead of a rule.',
)
@json_option
def command(
    dataset: str,
    archives: tuple[Path, ...],
    output: Path,
    crop: bool | None,
    side: int,
    rule: str | None,
    seed: int,
    split_file: Path | None,
    as_json: bool,
) -> None:
    """Turn the original archives of a data set into a zip of <split>/<class>/<photo>.jpg.

    An ARCHIVE is a .tgz, .tar or .zip as it was downloaded, or the folder it was unpacked to. Train, val and
    test have no class in common. The papers' lists for dogs and cars are not made by a rule: their default
    is a random split of the same sizes; a paper's own list goes into --split-file. The split and the
    archives' SHA-256 are written beside the zip, as .json.

    Example: hmdrn prepare cub CUB_200_2011.tgz --output cub.zip
    """
    if dataset == "cars":
        require("scipy", "reading the lists of Stanford Cars", "train")
    with progress() as report:
        record = prepare(
            ORIGINALS[dataset], archives, output, Choices(crop, side, rule, seed, split_file), report
        )
    if as_json:
        print_json("prepare", {"output": str(output), **record})
        return
    rows = [
        [name, str(len(labels)), str(record["photos"][name])] for name, labels in record["classes"].items()
    ]
    print_table(f"{output}: {record['split']['told']}", ["split", "classes", "photos"], rows)
    if record["left_out"]:
        click.echo(f"left out {len(record['left_out'])} classes that the split does not name", err=True)
