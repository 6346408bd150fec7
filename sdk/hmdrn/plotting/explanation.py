"""Picture of `hmdrn explain`; it needs matplotlib (extra `plots`)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hmdrn.plotting.figures import save_figure
from hmdrn.plotting.odds import format_odds
from hmdrn_runtime.classification.explanation import Explanation, LevelExplanation
from hmdrn_runtime.images.preprocessing import Box, Preprocessing, crop_box, find_visible_box

_BEST, _OTHER = "#1b5fb4", "#c85200"
_SPEAKS_FOR = LinearSegmentedColormap.from_list("speaks for", [_OTHER, "#f4f4f4", _BEST])
_MEANING = {"high": "whole shapes", "mid": "finer parts"}
_PANEL, _HEAD = 3.0, 1.1
_VIEW = 480
"""Side of a panel's photo, in pixels."""
_MAP_ALPHA = 0.62
"""Opacity of a map over the photo."""


def draw_explanation(
    explanation: Explanation,
    photo: PIL.Image.Image,
    preprocessing: Preprocessing,
    box: Box | None,
    path: Path,
) -> None:
    """Draw the photo, the mask, each species' errors, and the difference of the two.

    Args:
        explanation: The explanation.
        photo: The whole photo, RGB and upright.
        preprocessing: The bundle's, which gives the part of the photo that the network saw.
        box: The region that was explained; the whole photo if None.
        path: The picture; its suffix is the format.

    Raises:
        HmdrnError: The picture cannot be written.
    """
    region = photo if box is None else crop_box(photo, box)
    mapped = _mapped(region, preprocessing, explanation.levels[0])
    count, rows = len(explanation.matches), len(explanation.levels)
    columns = 2 + count + (count > 1)
    figure = Figure(figsize=(_PANEL * columns, (_PANEL + 0.35) * rows + _HEAD), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    corner = (0.0, 0.0) if box is None else (max(box[0], 0.0), max(box[1], 0.0))
    _draw_photo(axes[0, 0], photo, corner, mapped)
    _draw_balance(axes[1, 0], explanation)
    view = _View(region, mapped)
    for i, (row, level) in enumerate(zip(axes, explanation.levels, strict=True)):
        _draw_level(figure, row[1:], level, explanation, view)
        if count > 1:
            _draw_difference(figure, row[4], i, explanation, view)
    figure.suptitle(format_headline(explanation), fontsize=13, fontweight="bold")
    figure.supxlabel(_legend(explanation), fontsize=9)
    save_figure(figure, path)


def format_headline(explanation: Explanation) -> str:
    """Return the answer in one line."""
    prediction = explanation.prediction
    first, *others = (f"{m.label} ({_percent(m.probability)})" for m in explanation.matches)
    rival = f", compared with {others[0]}" if others else ""
    if prediction.known is False:
        return f"Unknown, none of the enrolled species. Nearest: {first}{rival}"
    return f"{'Known: ' if prediction.known else ''}{first}{rival}"


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %" if probability >= 0.005 else "under 1 %"


def _legend(explanation: Explanation) -> str:
    lines = (
        "Every location of the photo is rebuilt from the enrolled photos of a species. What cannot be "
        "rebuilt is its error; the species with less of it wins."
    )
    if len(explanation.matches) < 2:
        return lines
    first, second = explanation.matches
    total = sum(float(part.sum()) for part in explanation.log_odds)
    return (
        f"{lines}\nLog-odds are the errors' difference, each level weighted as the network learned: "
        f"{total:+.2f} in all make {_short(first.label)} "
        f"{format_odds(total)} as probable as {_short(second.label)}."
    )


class _View:
    """The part of the photo that the maps lie on."""

    def __init__(self, region: PIL.Image.Image, mapped: Box) -> None:
        size, extent = (_VIEW, _VIEW), PIL.Image.Transform.EXTENT
        shown = region.transform(size, extent, mapped, PIL.Image.Resampling.BICUBIC)
        # With full contrast, or the map would hide a dark photo.
        self.gray = np.asarray(PIL.ImageOps.autocontrast(shown.convert("L"), cutoff=1))
        self.aspect = (mapped[3] - mapped[1]) / (mapped[2] - mapped[0])

    def draw(self, axes: Axes) -> None:
        # Lighter than it is, so that colors on it are those of the scale.
        axes.imshow(self.gray, cmap="gray", vmin=-160, vmax=255, extent=(0, 1, 1, 0), aspect=self.aspect)
        axes.set_xticks([])
        axes.set_yticks([])

    def overlay(
        self,
        axes: Axes,
        values: npt.NDArray[np.float64],
        colors: str | Colormap,
        scale: Normalize,
        alpha: float | npt.NDArray[np.float64],
    ) -> None:
        axes.imshow(values, cmap=colors, norm=scale, alpha=alpha, extent=(0, 1, 1, 0), aspect=self.aspect)


def _mapped(region: PIL.Image.Image, preprocessing: Preprocessing, level: LevelExplanation) -> Box:
    """Return the part of a region under the maps: pooling drops the input's last few rows and columns."""
    x0, y0, x1, y1 = find_visible_box(region.width, region.height, preprocessing)
    share = level.side * level.cell / preprocessing.side
    return x0, y0, x0 + share * (x1 - x0), y0 + share * (y1 - y0)


def _draw_photo(axes: Axes, photo: PIL.Image.Image, corner: tuple[float, float], mapped: Box) -> None:
    axes.imshow(np.asarray(photo))
    x0, y0, x1, y1 = mapped
    outline = Rectangle((corner[0] + x0 - 0.5, corner[1] + y0 - 0.5), x1 - x0, y1 - y0, fill=False)
    outline.set(edgecolor="#ffd400", linewidth=2)
    axes.add_patch(outline)
    axes.set_title("the photo; yellow: the part in use", fontsize=9)
    axes.set_axis_off()


def _draw_balance(axes: Axes, explanation: Explanation) -> None:
    """Draw how much each level favors either species."""
    if len(explanation.matches) < 2:
        text = "One species is enrolled:\nno other to compare with."
        axes.text(0.5, 0.5, text, ha="center", va="center")
        axes.set_axis_off()
        return
    first, second = explanation.matches
    names = [*(f"{level.name} level" for level in explanation.levels), "both"]
    parts = [float(part.sum()) for part in explanation.log_odds]
    values = [*parts, sum(parts)]
    positions = range(len(names))
    bars = axes.barh(positions, values, color=[_BEST if value >= 0 else _OTHER for value in values])
    axes.bar_label(bars, [f"{value:+.2f}" for value in values], padding=3, fontsize=9)
    axes.set_yticks(positions, names, fontsize=9)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("log-odds", fontsize=9)
    axes.set_title(f"what decides: + for {_short(first.label)},\n- for {_short(second.label)}", fontsize=9)


def _draw_level(
    figure: Figure,
    row: npt.NDArray[np.object_],
    level: LevelExplanation,
    explanation: Explanation,
    view: _View,
) -> None:
    for axes in row:
        view.draw(axes)
    count = len(explanation.matches)
    layers, heads = level.mask.shape[:2]
    masks = f"{layers * heads} masks ({layers} layer{'s' * (layers > 1)} x {heads} heads)"
    percent = Normalize(0, 100)
    view.overlay(row[0], 100 * level.mask_share, "viridis", percent, _MAP_ALPHA)
    row[0].set_title("mask: how many of the masks\nkeep each location", fontsize=9)
    meaning = _MEANING.get(level.name, "")
    row[0].set_ylabel(f"{level.name} level: {meaning}\n{level.side} x {level.side} locations", fontsize=10)
    _scale(figure, row[:1], "viridis", percent, f"% of the {masks}")
    worst = Normalize(0, float(level.errors.max()) or 1.0)
    panels = zip(row[1:], explanation.matches, level.errors, (_BEST, _OTHER), strict=False)
    for axes, match, errors, color in panels:
        view.overlay(axes, errors, "inferno", worst, _MAP_ALPHA)
        axes.set_title(f"error of {_short(match.label)}\n{errors.sum():.1f} in all", fontsize=9, color=color)
    _scale(figure, row[1 : 1 + count], "inferno", worst, "squared error (less fits better)")


def _draw_difference(figure: Figure, axes: Axes, level: int, explanation: Explanation, view: _View) -> None:
    """Draw what separates two species at a level, on one scale for all levels."""
    maps = explanation.log_odds
    strongest = max(float(np.abs(part).max()) for part in maps) or 1.0
    scale = Normalize(-strongest, strongest)
    view.overlay(axes, maps[level], _SPEAKS_FOR, scale, 0.1 + 0.75 * np.abs(maps[level]) / strongest)
    axes.set_title(f"what separates them:\n{maps[level].sum():+.2f} log-odds at this level", fontsize=9)
    first, second = (_short(match.label) for match in explanation.matches)
    for y, name, label, color in ((-0.03, "blue", first, _BEST), (-0.1, "orange", second, _OTHER)):
        text = f"{name}: {label} fits better"
        axes.text(0, y, text, color=color, fontsize=8, va="top", transform=axes.transAxes)
    _scale(figure, [axes], _SPEAKS_FOR, scale, "log-odds")


def _scale(
    figure: Figure, axes: Iterable[Axes], colors: str | Colormap, scale: Normalize, label: str
) -> None:
    bar = figure.colorbar(ScalarMappable(scale, colors), ax=list(axes), shrink=0.8, pad=0.02, aspect=25)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _short(label: str, width: int = 30) -> str:
    return textwrap.shorten(label, width, placeholder="...") if " " in label else label[:width]
