"""`hmdrn demo`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.options import json_option, print_json, print_table, progress
from hmdrn.demo import PICTURES, demonstrate, draw_result, drawn_groups, photo_groups, summary_rows
from hmdrn.loading import DEFAULT, load
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import check_folder_of, reason, user_path


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
    help="Picture to draw.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other species."
)
@json_option
def command(photos: Path | None, bundle: str, output: Path, seed: int, as_json: bool) -> None:
    """Enroll five species, name photos of them that were held out, and draw a picture of the result.

    Without --photos it draws specimens of look-alike butterflies that no model was trained on, and enrolls
    five of each. Of your own photos it takes up to five species of two photos or more, and enrolls at most
    half of a species' photos and at most five. It names up to six of the others of each species.

    Example: hmdrn demo --output result.png
    """
    output = _picture_path(output)
    recognizer = load(bundle)
    with progress() as report:
        report("preparing", 0, 1)
        groups = drawn_groups(seed) if photos is None else photo_groups(open_dataset(photos), seed)
        result = demonstrate(recognizer, groups)
    try:
        draw_result(result).save(output)
    except OSError as error:
        raise HmdrnError(f"cannot write the picture {output}: {reason(error)}") from error
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


def _picture_path(output: Path) -> Path:
    """Where to write the picture, checked before it is drawn."""
    output = user_path(output, HmdrnError)
    if output.is_dir():
        raise HmdrnError(
            f"{output} is a folder; give the path of a picture, such as {output / 'hmdrn-demo.png'}"
        )
    if output.suffix.lower() not in PICTURES:
        raise HmdrnError(
            f"cannot write the picture {output}: give a path that ends in one of {', '.join(PICTURES)}"
        )
    check_folder_of(output, "the picture", HmdrnError)
    return output
