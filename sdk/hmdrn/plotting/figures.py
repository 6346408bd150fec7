"""Pictures for people who would rather look than read; they need matplotlib (extra `plots`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.evaluation.evaluation import Evaluation
from hmdrn_runtime.io.files import reason

if TYPE_CHECKING:
    from hmdrn_calibration.quantization.report import CalibrationReport


def draw_confusion(evaluations: Sequence[tuple[str, Evaluation]], path: Path) -> None:
    """Which class was taken for which: a matrix for each titled evaluation, rows in percent.

    Raises:
        HmdrnError: The picture cannot be written.
    """
    sizes = [max(3.0, 0.28 * len(evaluation.classes) + 2.0) for _, evaluation in evaluations]
    figure = Figure(figsize=(sum(sizes) + 1.0, max(sizes)), layout="constrained")
    for axes, (title, evaluation) in zip(
        figure.subplots(1, len(evaluations), squeeze=False, width_ratios=sizes)[0], evaluations, strict=True
    ):
        totals = evaluation.confusion.sum(axis=1, keepdims=True)
        shown = axes.imshow(
            100 * evaluation.confusion / np.maximum(totals, 1), cmap="magma", vmin=0, vmax=100
        )
        places = range(len(evaluation.classes))
        axes.set_xticks(places, evaluation.classes, rotation=90, fontsize=6)
        axes.set_yticks(places, evaluation.classes, fontsize=6)
        axes.set_xlabel("taken for")
        axes.set_ylabel("shows")
        axes.set_title(f"{title}: {evaluation.accuracy:.1f} %", fontsize=8)
        figure.colorbar(shown, ax=axes, shrink=0.6, label="% of the class's queries")
    save_figure(figure, path)


def draw_costs(report: CalibrationReport, title: str, path: Path) -> None:
    """What quantising each layer alone costs, as bars; those that stay FP32 are marked.

    Raises:
        HmdrnError: The picture cannot be written.
    """
    layers = report.layers
    figure = Figure(figsize=(11, max(3.0, 0.22 * len(layers) + 1.2)), layout="constrained")
    distances, points = figure.subplots(1, 2, sharey=True)
    colours = ["tab:orange" if cost.kept else "tab:blue" for cost in layers]
    places = range(len(layers))
    distances.barh(places, [100 * cost.distance_error for cost in layers], color=colours)
    distances.set_yticks(places, [cost.layer for cost in layers], fontsize=6)
    distances.invert_yaxis()
    distances.set_xlabel("error of distances, %")
    points.barh(
        places,
        [cost.drop for cost in layers],
        xerr=[cost.ci95 for cost in layers],
        color=colours,
        ecolor="grey",
    )
    points.set_xlabel("points of accuracy lost")
    kept = f"; orange: {len(report.kept)} layers stay FP32" if report.kept else ""
    figure.suptitle(f"{title}, each layer alone{kept}", fontsize=9)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix.

    Raises:
        HmdrnError: The suffix is no picture's, or the file cannot be written.
    """
    FigureCanvasAgg(figure)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise HmdrnError(f"cannot write picture {path}: {reason(error)}") from error
    except ValueError as error:
        raise HmdrnError(f"cannot write picture {path}: give it a suffix such as .png or .svg") from error


def draw_curves(history: Path, path: Path) -> None:
    """Loss, accuracy, learned scalars and validations of a training run, from its history file.

    Raises:
        HmdrnError: The picture cannot be written.
    """
    run = json.loads(history.read_text())
    if not run["records"]:
        return
    phases = {phase: [r for r in run["records"] if r["phase"] == phase] for phase in ("classes", "episodes")}
    offset = phases["classes"][-1]["step"] if phases["classes"] else 0
    figure = Figure(figsize=(11, 7), layout="constrained")
    loss, accuracy, scalars, validation = figure.subplots(2, 2).ravel()
    for phase, shift in (("classes", 0), ("episodes", offset)):
        records = phases[phase]
        steps = [r["step"] + shift for r in records]
        loss.plot(steps, [r["loss"] for r in records], label=phase)
        accuracy.plot(steps, [100 * r["accuracy"] for r in records], label=phase)
        for name in records[0]["scalars"] if phase == "episodes" and records else ():
            scalars.plot(steps, [r["scalars"][name] for r in records], label=name)
    for name in run["validations"][0]["accuracies"] if run["validations"] else ():
        steps = [v["step"] for v in run["validations"]]
        validation.plot(
            steps, [v["accuracies"][name] for v in run["validations"]], "o-", label=name, markersize=3
        )
    scalars.set_yscale("log")
    for axes, title in (
        (loss, "loss"),
        (accuracy, "accuracy on training photos, %"),
        (scalars, "learned scalars"),
        (validation, "accuracy on validation classes, %"),
    ):
        axes.set_title(title)
        axes.set_xlabel("step")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    save_figure(figure, path)
