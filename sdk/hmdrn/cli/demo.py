"""`hmdrn demo`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.common import json_option, print_json, print_table, progress
from hmdrn.demo import demonstrate, draw_result, drawn_groups, photo_groups, summary_rows
from hmdrn.loading import DEFAULT, load
from hmdrn_runtime.datasets import open_dataset
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.files import user_path


@click.command("demo")
@click.option(
    "--photos", type=click.Path(path_type=Path), help="Your own photos, a folder for every species."
)
@click.option("--bundle", default=DEFAULT, show_default=True, help="Model to use.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("hmdrn-demo.png"),
    show_default=True,
    help="Picture.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other species."
)
@json_option
def command(photos: Path | None, bundle: str, output: Path, seed: int, as_json: bool) -> None:
    """Enroll five species from five photos each, name held-out ones, and draw a picture of the result.

    Without --photos it draws specimens of look-alike butterflies that no model was trained on.

    Example: hmdrn demo --output result.png
    """
    output = user_path(output, HmdrnError)
    recognizer = load(bundle)
    with progress() as report:
        report("preparing", 0, 1)
        groups = drawn_groups(seed) if photos is None else photo_groups(open_dataset(photos), seed)
        result = demonstrate(recognizer, groups)
    try:
        draw_result(result).save(output)
    except (OSError, ValueError) as error:  # ValueError: an ending that names no picture format
        raise HmdrnError(
            f"cannot write the picture {output}: {error}; give a path that ends in .png"
        ) from error
    if as_json:
        species = [
            {"label": g.label, "enrolled": len(g.support), "answers": [a.to_dict() for a in answers]}
            for g, answers in zip(result.groups, result.answers, strict=True)
        ]
        values = {"right": result.right, "total": result.total, "milliseconds": result.milliseconds}
        print_json("demo", {"picture": str(output), **values, "species": species})
        return
    print_table(
        f"{result.right} of {result.total} held-out photos named rightly, {result.milliseconds:.1f} ms each",
        ["species", "enrolled", "right", "also called"],
        list(summary_rows(result)),
    )
    click.echo(f"picture: {output}")
