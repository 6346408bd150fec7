"""Draw architecture.svg, the components and their imports, and photo-path.svg, a photo's way through them.

All text stands in filled boxes and everything else is mid-gray, so both are legible on light and dark pages.

    python docs/figures/diagrams.py
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from hmdrn_runtime.specimens.drawing import draw_specimens

FOLDER = Path(__file__).parent
SPECIES = 11
DEVICE, WORKSTATION, DATA, ANSWER = "#d6e6f5", "#fbe3c8", "#e4e4e4", "#d8efd3"
_EDGE, _TEXT, _ARROW = "#5b6b7a", "#1a1a1a", "#8a8f98"
# Text as outlines: no page needs the font. A fixed salt: the same drawing gives the same file.
_STYLE = {"svg.fonttype": "path", "svg.hashsalt": "hmdrn", "font.family": "DejaVu Sans"}

Pixels: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """A box of text.

    Attributes:
        x: Left edge, inches.
        y: Bottom edge, inches.
        width: Inches.
        height: Inches.
    """

    x: float
    y: float
    width: float
    height: float

    def point(self, side: str, share: float = 0.5) -> tuple[float, float]:
        """Return a point on the "left", "right", "top" or "bottom", at a share of the side's length."""
        x, y = self.x + share * self.width, self.y + share * self.height
        return {
            "left": (self.x, y),
            "right": (self.x + self.width, y),
            "top": (x, self.y + self.height),
            "bottom": (x, self.y),
        }[side]


def main(folder: Path = FOLDER) -> None:
    """Draw both pictures into a folder."""
    with mpl.rc_context(_STYLE):
        draw_architecture(folder / "architecture.svg")
        draw_photo_path(folder / "photo-path.svg")


def draw_architecture(path: Path) -> None:
    """Draw the five components; an arrow leads from a component to one that it may import."""
    axes = _open(11.0, 5.3)
    sdk = _box(axes, Box(0.1, 4.35, 10.8, 0.85), DEVICE, "sdk/   hmdrn")
    _write(
        axes,
        5.5,
        4.57,
        "hmdrn.load  ·  command line  ·  watching cameras  ·  demo  ·  imports the others lazily",
    )
    export = _box(axes, Box(0.1, 2.95, 5.2, 0.85), WORKSTATION, "export/   hmdrn_export")
    _write(axes, 2.7, 3.17, "ONNX graphs  ·  precision  ·  TensorRT engines  ·  checks")
    calibration = _box(axes, Box(5.7, 2.95, 5.2, 0.85), WORKSTATION, "calibration/   hmdrn_calibration")
    _write(axes, 8.3, 3.17, "INT8 quantization  ·  thresholds for unknown species")
    network = _box(axes, Box(0.1, 1.6, 5.2, 0.85), WORKSTATION, "network/   hmdrn_network")
    _write(axes, 2.7, 1.82, "HMDRN in torch  ·  checkpoints  ·  training")
    runtime = _box(axes, Box(0.1, 0.1, 10.8, 1.0), DEVICE, "runtime/   hmdrn_runtime")
    for i, name in enumerate(
        (
            "images",
            "datasets",
            "bundle",
            "gallery",
            "enrollment",
            "matching",
            "open_set",
            "backends",
            "profiling",
        )
    ):
        _box(axes, Box(0.27 + 1.165 * i, 0.22, 1.08, 0.36), "#ffffff", "", radius=0.06)
        _write(axes, 0.81 + 1.165 * i, 0.4, name, 8.5)
    for start, end in (
        (sdk.point("bottom", 2.6 / 10.8), export.point("top")),
        (sdk.point("bottom", 8.2 / 10.8), calibration.point("top")),
        (sdk.point("bottom"), runtime.point("top")),
        (export.point("bottom"), network.point("top")),
        (network.point("bottom"), runtime.point("top", 2.6 / 10.8)),
        (calibration.point("bottom"), runtime.point("top", 8.2 / 10.8)),
    ):
        _arrow(axes, start, end)
    for y, color, text in (
        (2.1, DEVICE, "on the device: no torch, no onnx"),
        (1.6, WORKSTATION, "on a workstation"),
    ):
        _box(axes, Box(8.65, y, 2.25, 0.36), color, "", radius=0.06)
        _write(axes, 9.775, y + 0.18, text, 8)
    _save(axes, path)


def draw_photo_path(path: Path) -> None:
    """Draw the steps of enrolling and of classifying a photo, each with the folder that holds it."""
    axes = _open(11.0, 4.9)
    enrolled, query = (image for image in draw_specimens([SPECIES], 2, size=240)[0])
    _lane(axes, 4.4, "Enroll: once per photo")
    _photo(axes, Box(0.1, 2.9, 1.3, 1.3), enrolled)
    steps = _steps(
        axes,
        2.9,
        [
            (DEVICE, "prepare", "resize, crop\nto the input", "images/"),
            (DEVICE, "graph enroll", "tokens S of the\nphoto, then S'S", "backends/"),
            (DATA, "gallery", "S'S of each photo,\nnever the photo", "gallery/"),
            (DEVICE, "graph solve", "sum of a species\nto its operator W²", "matching/"),
        ],
    )
    report = _step(
        axes, Box(9.35, 2.9, 1.55, 1.3), ANSWER, "report", "each photo against\nthe others", "enrollment/"
    )
    _lane(axes, 1.6, "Classify: every frame")
    _photo(axes, Box(0.1, 0.1, 1.3, 1.3), query)
    frame = _steps(
        axes,
        0.1,
        [
            (DEVICE, "prepare", "resize, crop\nto the input", "images/"),
            (DEVICE, "graph encode", "masked tokens Q\nof it, then Q'Q", "backends/"),
        ],
    )
    compare = _step(
        axes,
        Box(5.45, 0.1, 3.55, 1.3),
        DEVICE,
        "compare",
        "one inner product with each\nspecies: D = ⟨Q'Q, W²⟩",
        "matching/",
    )
    answer = _step(
        axes,
        Box(9.35, 0.1, 1.55, 1.3),
        ANSWER,
        "prediction",
        "label, probability,\nmargin, known",
        "prediction.py",
    )
    for chain in (
        [Box(0.1, 2.9, 1.3, 1.3), *steps, report],
        [Box(0.1, 0.1, 1.3, 1.3), *frame, compare, answer],
    ):
        for left, right in pairwise(chain):
            _arrow(axes, left.point("right"), right.point("left"))
    _arrow(axes, steps[-1].point("bottom"), compare.point("top", 2.625 / 3.55))
    _save(axes, path)


def _steps(axes: Axes, y: float, steps: list[tuple[str, str, str, str]]) -> list[Box]:
    return [_step(axes, Box(1.75 + 1.85 * i, y, 1.55, 1.3), *step) for i, step in enumerate(steps)]


def _step(axes: Axes, box: Box, color: str, title: str, text: str, folder: str) -> Box:
    _box(axes, box, color, title)
    middle = box.x + box.width / 2
    _write(axes, middle, box.y + 0.64, text, 8.5)
    _write(axes, middle, box.y + 0.17, folder, 8, style="italic")
    return box


def _lane(axes: Axes, y: float, text: str) -> None:
    _box(axes, Box(0.1, y, 2.6, 0.4), "#ffffff", "", radius=0.08)
    _write(axes, 1.4, y + 0.2, text, 11, weight="bold")


def _open(width: float, height: float) -> Axes:
    axes = plt.figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return axes


def _save(axes: Axes, path: Path) -> None:
    figure = axes.get_figure()
    assert figure is not None
    figure.savefig(
        path, transparent=True, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None
    )
    plt.close("all")


def _box(axes: Axes, box: Box, color: str, title: str, radius: float = 0.12) -> Box:
    style = f"round,pad=0,rounding_size={radius}"
    axes.add_patch(
        FancyBboxPatch((box.x, box.y), box.width, box.height, boxstyle=style, fc=color, ec=_EDGE, lw=1.0)
    )
    _write(axes, box.x + box.width / 2, box.y + box.height - 0.24, title, 11, weight="bold")
    return box


def _write(axes: Axes, x: float, y: float, text: str, size: float = 9.5, **style: str) -> None:
    axes.text(x, y, text, fontsize=size, color=_TEXT, ha="center", va="center", **style)


def _photo(axes: Axes, box: Box, image: Pixels) -> None:
    axes.imshow(image, extent=(box.x, box.x + box.width, box.y, box.y + box.height), aspect="auto", zorder=2)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {
        "arrowstyle": "-|>",
        "mutation_scale": 16,
        "lw": 2.2,
        "color": _ARROW,
        "shrinkA": 2,
        "shrinkB": 1,
    }
    axes.add_patch(FancyArrowPatch(start, end, **style))


if __name__ == "__main__":
    main()
