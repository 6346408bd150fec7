"""`hmdrn explain`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from hmdrn.cli.messages import print_message
from hmdrn.cli.options import bundle_argument, json_option, print_json, print_table, require, threads_option
from hmdrn.cli.output_paths import output_place
from hmdrn.cli.regions import parse_region
from hmdrn.loading import bundle_path, load
from hmdrn_runtime.errors import HmdrnError, ImageError
from hmdrn_runtime.explanation import Explanation, LevelExplanation
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import reason, user_path


@click.command("explain")
@bundle_argument
@click.argument("image", metavar="IMAGE", type=click.Path(path_type=Path))
@click.option(
    "--gallery", "-g", required=True, type=click.Path(path_type=Path), help="Gallery file of the species."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Draw it all into this picture (.png, .svg).",
)
@click.option(
    "--against",
    metavar="SPECIES",
    help="Compare the answer with this species, e.g. the right one; else with the second-best.",
)
@click.option(
    "--box", metavar="X0,Y0,X1,Y1", callback=parse_region, help="Part of the photo to look at, in pixels."
)
@click.option("--arrays", type=click.Path(path_type=Path), help="Save all maps into this NumPy file (.npz).")
@threads_option
@json_option
def command(
    bundle: str,
    image: Path,
    gallery: Path,
    output: Path | None,
    against: str | None,
    box: Box | None,
    arrays: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Show why IMAGE is named as it is: what the network looks at, and where two species differ.

    The photo is rebuilt from the enrolled photos of each species, place by place; where that fails the
    species does not fit. The errors of all places sum to the distances that decide.

    Example: hmdrn explain default a.jpg --gallery site7.gallery -o why.png
    """
    image = user_path(image, ImageError)
    read = (image, gallery, bundle_path(bundle))
    if output is not None:
        output = output_place(output, "picture", read)
        require("matplotlib", "drawing pictures", "plots")
    if arrays is not None:
        arrays = output_place(arrays, "arrays", read)
        if arrays.suffix != ".npz":
            raise HmdrnError(f"cannot write arrays {arrays}: give a file that ends with .npz")
    recognizer = load(bundle, gallery, threads=threads)
    photo = load_image(image)
    explanation = recognizer.explain(image, box, against)
    if output is not None:
        from hmdrn.plotting.explanation import draw_explanation

        draw_explanation(explanation, photo, recognizer.bundle.manifest.input.preprocessing, box, output)
    if arrays is not None:
        try:
            with arrays.open("wb") as file:
                np.savez_compressed(file, **explanation.arrays())  # type: ignore[arg-type]
        except OSError as error:
            raise HmdrnError(f"cannot write arrays {arrays}: {reason(error)}") from error
    if as_json:
        print_json("explain", {"image": str(image), "box": box, **_summary(explanation, output, arrays)})
        return
    _show(explanation)
    for what, path in (("picture", output), ("arrays", arrays)):
        if path is not None:
            click.echo(f"{what}: {path}")
    if output is None:
        print_message("note: add -o why.png to see on the photo where the species differ")


def _summary(explanation: Explanation, output: Path | None, arrays: Path | None) -> dict[str, Any]:
    prediction = explanation.prediction.to_dict()
    return {
        "picture": None if output is None else str(output),
        "arrays": None if arrays is None else str(arrays),
        **{key: prediction[key] for key in ("label", "known", "probability", "margin")},
        "compared": [
            {"label": m.label, "probability": m.probability, "logit": m.logit, "distances": dict(m.distances)}
            for m in explanation.matches
        ],
        "levels": [_level_summary(level, explanation) for level in explanation.levels],
    }


def _level_summary(level: LevelExplanation, explanation: Explanation) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": level.name,
        "side": level.side,
        "foreground": float(level.foreground.mean()),
        "logits_per_error": level.logits_per_error,
        "errors": [
            {"label": match.label, "sum": float(errors.sum()), "max": float(errors.max())}
            for match, errors in zip(explanation.matches, level.errors, strict=True)
        ],
        "advantage": None,
    }
    if level.advantage is not None:
        row, column = divmod(int(np.abs(level.advantage).argmax()), level.side)
        strongest = {"row": row, "column": column, "logits": float(level.advantage[row, column])}
        values["advantage"] = {"sum": float(level.advantage.sum()), "strongest": strongest}
    return values


def _show(explanation: Explanation) -> None:
    prediction = explanation.prediction
    verdict = {True: ", known", False: ", but unknown: nothing enrolled is near enough", None: ""}
    title = f"{prediction.label}, {100 * prediction.probability:.1f} %{verdict[prediction.known]}"
    labels = [match.label for match in explanation.matches]
    columns = ["level", "foreground", *(f"error of {label}" for label in labels)]
    if len(labels) > 1:
        columns.append(f"logits for {labels[0]}")
    print_table(title, columns, list(_rows(explanation)))


def _rows(explanation: Explanation) -> Iterator[list[str]]:
    total = 0.0
    for level in explanation.levels:
        row = [f"{level.name}, {level.side} x {level.side}", f"{100 * level.foreground.mean():.0f} %"]
        row += [f"{errors.sum():.2f}" for errors in level.errors]
        if level.advantage is not None:
            total += float(level.advantage.sum())
            row.append(f"{level.advantage.sum():+.2f}")
        yield row
    if len(explanation.matches) > 1:
        yield ["both", "", *("" for _ in explanation.matches), f"{total:+.2f}"]
