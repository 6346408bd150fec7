"""Pictures of evaluations, quantization and training; they need matplotlib (extra `plots`).

All functions raise HmdrnError if the picture cannot be written, or its suffix is not a picture's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from hmdrn.fonts import find_font_files
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.evaluation.evaluation import Evaluation
from hmdrn_runtime.io.files import describe_os_error

if TYPE_CHECKING:
    from hmdrn_calibration.quantization.report import QuantizationReport


def draw_confusion(evaluations: Sequence[tuple[str, Evaluation]], path: Path) -> None:
    """Draw a confusion matrix for each titled evaluation, rows in percent."""
    sizes = [max(3.0, 0.28 * len(evaluation.classes) + 2.0) for _, evaluation in evaluations]
    figure = Figure(figsize=(sum(sizes) + 1.0, max(sizes)), layout="constrained")
    for axes, (title, evaluation) in zip(
        figure.subplots(1, len(evaluations), squeeze=False, width_ratios=sizes)[0], evaluations, strict=True
    ):
        totals = evaluation.confusion.sum(axis=1, keepdims=True)
        percent = 100 * evaluation.confusion / np.maximum(totals, 1)
        image = axes.imshow(percent, cmap="magma", vmin=0, vmax=100)
        ticks = range(len(evaluation.classes))
        axes.set_xticks(ticks, evaluation.classes, rotation=90, fontsize=6)
        axes.set_yticks(ticks, evaluation.classes, fontsize=6)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.set_title(f"{title}: {evaluation.accuracy:.1f} %", fontsize=8)
        figure.colorbar(image, ax=axes, shrink=0.6, label="% of the class's queries")
    save_figure(figure, path)


def draw_layer_costs(report: QuantizationReport, title: str, path: Path) -> None:
    """Draw the cost of quantizing each layer alone, as bars; layers that stay FP32 are marked."""
    layers = report.layers
    figure = Figure(figsize=(11, max(3.0, 0.22 * len(layers) + 1.2)), layout="constrained")
    distances, points = figure.subplots(1, 2, sharey=True)
    colors = ["tab:orange" if cost.kept else "tab:blue" for cost in layers]
    rows = range(len(layers))
    distances.barh(rows, [100 * cost.distance_error for cost in layers], color=colors)
    distances.set_yticks(rows, [cost.layer for cost in layers], fontsize=6)
    distances.invert_yaxis()
    distances.set_xlabel("error of distances, %")
    drops, intervals = [cost.drop for cost in layers], [cost.ci95 for cost in layers]
    points.barh(rows, drops, xerr=intervals, color=colors, ecolor="gray")
    points.set_xlabel("points of accuracy lost")
    kept = f"; orange: {len(report.kept)} layers stay FP32" if report.kept else ""
    figure.suptitle(f"{title}, each layer alone{kept}", fontsize=9)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix, with fonts for the letters of its texts."""
    FigureCanvasAgg(figure)
    use_system_fonts(figure)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise HmdrnError(f"cannot write picture {path}: {describe_os_error(error)}") from error
    except ValueError as error:
        raise HmdrnError(f"cannot write picture {path}: give it a suffix such as .png or .svg") from error


def use_system_fonts(figure: Figure) -> None:
    """Add the fonts to a figure's texts that their letters need besides matplotlib's own.

    matplotlib does not join Arabic letters, nor does it draw colored emoji.
    """
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    names = []
    for path in find_font_files([text.get_text() for text in texts]):
        try:
            font_manager.fontManager.addfont(path)
            names.append(font_manager.FontProperties(fname=path).get_name())
        except (OSError, RuntimeError):  # not a font that matplotlib reads
            continue
    for text in texts if names else ():
        text.set_fontfamily([*text.get_fontfamily(), *names])


def draw_curves(history: Path, path: Path) -> None:
    """Draw loss, accuracy, learned scalars and validations of a training run, from its history file."""
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
        accuracies = [v["accuracies"][name] for v in run["validations"]]
        validation.plot(steps, accuracies, "o-", label=name, markersize=3)
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
