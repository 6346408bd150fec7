"""`hmdrn demo`."""

from __future__ import annotations

from pathlib import Path

import click
from PIL import Image

from hmdrn.cli.data_messages import print_unreadable, print_warnings
from hmdrn.cli.options import PATH, json_option, option
from hmdrn.cli.output import print_json, print_table, progress
from hmdrn.cli.output_paths import check_output_path
from hmdrn.demo import (
    PICTURE_SUFFIXES,
    build_summary_rows,
    choose_demo_species,
    draw_demo_species,
    draw_result,
    run_demo,
)
from hmdrn.loading import DEFAULT, load
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.datasets.reading import PhotoReader
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error


@click.command("demo")
@option("--photos", type=PATH, help="Your own photos, a folder for every species.")
@option("--bundle", default=DEFAULT, help="Model to use.")
@option("--output", "-o", type=PATH, default=Path("hmdrn-demo.png"), help="Picture to draw.")
@option("--seed", type=click.IntRange(0), default=0, help="Another seed draws other species.")
@json_option
def command(photos: Path | None, bundle: str, output: Path, seed: int, as_json: bool) -> None:
    """Enroll five species, name photos of them that were held out, and draw a picture of the result.

    Without --photos it draws specimens of look-alike butterflies that no model was trained on, and enrolls
    five of each. Of your own photos it takes up to five species of two photos or more, and enrolls at most
    half of a species' photos and at most five. It names up to six of the others of each species.

    Example: hmdrn demo --output result.png
    """
    output = check_output_path(output, "picture", suffixes=PICTURE_SUFFIXES)
    recognizer, reader = load(bundle), PhotoReader()
    with progress() as report:
        report("preparing", 0, 1)
        if photos is None:
            species = draw_demo_species(seed)
        else:
            dataset = open_dataset(photos)
            print_warnings([dataset])
            species = choose_demo_species(dataset, seed, reader)
        result = run_demo(recognizer, species)
    print_unreadable(reader.unreadable)
    try:
        # The format by this name: Pillow 10 takes that of the file which a link leads to.
        draw_result(result).save(output, Image.registered_extensions().get(output.suffix.lower()))
    except OSError as error:
        raise HmdrnError(f"cannot write picture {output}: {describe_os_error(error)}") from error
    if as_json:
        rows = [
            {"label": g.label, "enrolled": len(g.support), "answers": [a.to_dict() for a in answers]}
            for g, answers in zip(result.species, result.predictions, strict=True)
        ]
        values = {"right": result.correct, "total": result.total, "milliseconds": result.milliseconds}
        print_json("demo", {"picture": str(output), **values, "species": rows})
        return
    print_table(
        f"{result.correct} of {result.total} held-out photos correct, {result.milliseconds:.1f} ms each",
        ["species", "enrolled", "right", "also called"],
        list(build_summary_rows(result)),
    )
    click.echo(f"picture: {output}")
