"""`hmdrn prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, json_option, option, require_package, strict_data_option
from hmdrn.cli.output import print_json, print_table, progress
from hmdrn.dataset_prep.prepare import LAYOUTS, PrepareOptions, prepare
from hmdrn_runtime.messages import abbreviate_names

_RULES = list(dict.fromkeys(rule for layout in LAYOUTS.values() for rule in layout.rules))


@click.command("prepare")
@click.argument("dataset", type=click.Choice(list(LAYOUTS)))
@click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...", type=PATH)
@option("--output", "-o", required=True, type=PATH, help="Zip to write.")
@option("--crop/--no-crop", default=None, help="Cut photos to the annotated box; the default for cub only.")
@option(
    "--side",
    type=click.IntRange(0),
    default=100,
    help="Most pixels of the shorter side; 0 keeps photos as they are where nothing is cut off.",
)
@option(
    "--split",
    "rule",
    type=click.Choice(_RULES),
    help="Rule of the split: hmdrn (cub), frn (cub, aircraft), chen (cub), seeded. The first that DATASET "
    "has is the default.",
)
@option("--seed", type=click.IntRange(0), default=0, help="Seed of --split seeded.")
@option(
    "--split-file",
    type=PATH,
    help='JSON file {"train": [class names], "val": [...], "test": [...]} instead of a rule.',
)
@strict_data_option
@json_option
def command(
    dataset: str,
    archives: tuple[Path, ...],
    output: Path,
    as_json: bool,
    **options: Any,  # those of `PrepareOptions`
) -> None:
    """Turn the original archives of a data set into a zip of <split>/<class>/<photo>.jpg.

    An ARCHIVE is a .tgz, .tar or .zip as it was downloaded, or the folder it was unpacked to. Train, val and
    test have no class in common. The papers' lists for dogs and cars are not made by a rule: their default
    is a random split of the same sizes; a paper's own list goes into --split-file. The split and the
    archives' SHA-256 are written beside the zip, as .json.

    Example: hmdrn prepare cub CUB_200_2011.tgz --output cub.zip
    """
    if dataset == "cars":
        require_package("scipy", "reading the lists of Stanford Cars", "train")
    with progress() as report:
        record = prepare(LAYOUTS[dataset], archives, output, PrepareOptions(**options), report)
    if record["unreadable"]:
        names = record["unreadable"]
        print_message(f"warning: left out {len(names)} damaged photos: {abbreviate_names(names)}")
    if as_json:
        print_json("prepare", {"output": str(output), **record})
        return
    rows = [
        [name, str(len(labels)), str(record["photos"][name])] for name, labels in record["classes"].items()
    ]
    print_table(f"{output}: {record['split']['told']}", ["split", "classes", "photos"], rows)
    if record["left_out"]:
        click.echo(f"left out {len(record['left_out'])} classes that the split does not name", err=True)
