"""`hmdrn explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from hmdrn.cli.messages import print_message
from hmdrn.cli.options import (
    PATH,
    bundle_argument,
    gallery_option,
    json_option,
    option,
    require_package,
    threads_option,
)
from hmdrn.cli.output import print_json, print_table
from hmdrn.cli.output_paths import check_output_path
from hmdrn.cli.parameters import parse_region
from hmdrn.loading import load, resolve_bundle
from hmdrn.plotting.odds import format_odds
from hmdrn_runtime.classification.explanation import Explanation, LevelExplanation
from hmdrn_runtime.errors import HmdrnError, ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import describe_os_error, expand_path


@click.command("explain")
@bundle_argument
@click.argument("image", metavar="IMAGE", type=PATH)
@gallery_option
@option("--output", "-o", type=PATH, help="Draw it all into this picture (.png, .svg).")
@option(
    "--against",
    metavar="SPECIES",
    help="Compare the answer with this species, e.g. the right one; else with the second-best.",
)
@option("--box", metavar="X0,Y0,X1,Y1", callback=parse_region, help="Part of the photo to use, in pixels.")
@option("--arrays", type=PATH, help="Save all maps into this NumPy file (.npz).")
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
    """Show why IMAGE got its name: where the network looks, and where two species differ.

    The photo is rebuilt from the enrolled photos of each species, place by place; where that fails the
    species does not fit. The errors of all places sum to the distances that decide.

    Example: hmdrn explain default a.jpg --gallery site7.gallery -o why.png
    """
    image = expand_path(image, ImageError)
    inputs = (image, gallery, resolve_bundle(bundle))
    if output is not None:
        output = check_output_path(output, "picture", inputs)
        require_package("matplotlib", "drawing pictures", "plots")
    if arrays is not None:
        arrays = check_output_path(arrays, "arrays", inputs, suffixes=(".npz",))
    recognizer = load(bundle, gallery, threads=threads)
    photo = load_image(image)
    explanation = recognizer.explain(image, box, against)
    if output is not None:
        from hmdrn.plotting.explanation import draw_explanation

        draw_explanation(explanation, photo, recognizer.preprocessing, box, output)
    if arrays is not None:
        try:
            with arrays.open("wb") as file:
                np.savez_compressed(file, **explanation.arrays())  # type: ignore[arg-type]
        except OSError as error:
            raise HmdrnError(f"cannot write arrays {arrays}: {describe_os_error(error)}") from error
    outputs = {"picture": output, "arrays": arrays}
    if as_json:
        paths = {kind: None if path is None else str(path) for kind, path in outputs.items()}
        print_json("explain", {"image": str(image), "box": box, **paths, **_to_json(explanation)})
        return
    _show(explanation)
    for kind, path in outputs.items():
        if path is not None:
            click.echo(f"{kind}: {path}")
    if output is None:
        print_message("note: add -o why.png to see on the photo where the species differ")


def _to_json(explanation: Explanation) -> dict[str, Any]:
    prediction = explanation.prediction.to_dict()
    return {
        **{key: prediction[key] for key in ("label", "known", "probability", "margin")},
        "compared": [
            {"label": m.label, "probability": m.probability, "logit": m.logit, "distances": dict(m.distances)}
            for m in explanation.matches
        ],
        "temperature": explanation.temperature,
        "log_odds": sum(float(part.sum()) for part in explanation.log_odds) if explanation.log_odds else None,
        "levels": [_level_to_json(level, explanation) for level in explanation.levels],
    }


def _level_to_json(level: LevelExplanation, explanation: Explanation) -> dict[str, Any]:
    advantage = None
    if level.advantage is not None:
        row, column = divmod(int(np.abs(level.advantage).argmax()), level.side)
        strongest = {"row": row, "column": column, "logits": float(level.advantage[row, column])}
        total = float(level.advantage.sum())
        advantage = {"sum": total, "log_odds": total / explanation.temperature, "strongest": strongest}
    return {
        "name": level.name,
        "side": level.side,
        "foreground": float(level.mask_share.mean()),
        "mask": float(level.mask_share.mean()),
        "logits_per_error": level.logits_per_error,
        "errors": [
            {"label": match.label, "sum": float(errors.sum()), "max": float(errors.max())}
            for match, errors in zip(explanation.matches, level.errors, strict=True)
        ],
        "advantage": advantage,
    }


def _show(explanation: Explanation) -> None:
    prediction = explanation.prediction
    verdict = {True: ", known", False: ", but unknown: nothing enrolled is near enough", None: ""}
    title = f"{prediction.label}, {100 * prediction.probability:.1f} %{verdict[prediction.known]}"
    labels = [match.label for match in explanation.matches]
    columns = ["level", "mask", *(f"error of {label}" for label in labels)]
    if len(labels) > 1:
        columns.append(f"log-odds for {labels[0]}")
    sums = [float(part.sum()) for part in explanation.log_odds]
    rows = []
    for i, level in enumerate(explanation.levels):
        row = [f"{level.name}, {level.side} x {level.side}", f"{100 * level.mask_share.mean():.0f} %"]
        row += [f"{errors.sum():.2f}" for errors in level.errors]
        rows.append([*row, *(f"{value:+.2f}" for value in sums[i : i + 1])])
    if sums:
        rows.append(["both", "", *("" for _ in labels), f"{sum(sums):+.2f}"])
    print_table(title, columns, rows)
    if sums:
        first, second = labels
        click.echo(
            f"log-odds of {sum(sums):+.2f}: {first} is {format_odds(sum(sums))} as probable as {second}"
        )
