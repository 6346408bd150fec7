"""Draw gram-matrix.png: enrolling is a sum of Gram matrices, classifying an inner product with an operator.

Every matrix is what the model that comes with the package makes of drawn specimens (level high, 64 x 64),
and every distance is the inner product of the two matrices that stand before it.

    python docs/figures/gram_matrix.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import species_name

Matrix = npt.NDArray[np.float64]

PICTURE = Path(__file__).with_name("gram-matrix.png")
SPECIES = (11, 3)
SHOTS = 3


def main(path: Path = PICTURE) -> None:
    """Draw the figure into a file."""
    birds = hmdrn.load("default", threads=1)
    drawn = draw_specimens(SPECIES, SHOTS + 1, size=160)
    names = [species_name(i) for i in SPECIES]
    for name, photos in zip(names, drawn, strict=True):
        birds.enroll(name, photos[:SHOTS])
    channels = birds.bundle.manifest.network.levels[0].channels
    species = [birds.gallery.species[name] for name in names]
    operands = birds.matcher.class_operands(species)["operator"]
    (query,) = birds.photo_statistics(seen(birds, drawn[0][SHOTS])[None])
    gram = unpacked(query.arrays["query"], channels)
    # Off-diagonals of a packed operator are doubled, for the inner product of triangles.
    operators = [unpacked(o, channels, doubled=True) for o in operands]
    shots = [
        unpacked(photo.arrays["support"], channels)
        for image in drawn[0][:SHOTS]
        for photo in birds.photo_statistics(seen(birds, image)[None])
    ]
    figure = plt.figure(figsize=(11.5, 7.4), facecolor="white")
    _enrolling(figure, names[0], list(drawn[0][:SHOTS]), shots, operators[0])
    _classifying(figure, names, drawn[0][SHOTS], gram, operators)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def seen(birds: hmdrn.Recognizer, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What the network sees of an image, uint8 (84, 84, 3)."""
    from hmdrn_runtime.images.preprocessing import prepare

    return prepare(image, birds.bundle.manifest.input.preprocessing)


def unpacked(packed: npt.NDArray[np.float32], channels: int, doubled: bool = False) -> Matrix:
    """The symmetric matrix (channels, channels) of level high from packed triangles (P,)."""
    rows, columns = np.triu_indices(channels)
    values = packed[: len(rows)].astype(np.float64)
    if doubled:
        values = np.where(rows == columns, values, values / 2)
    matrix = np.zeros((channels, channels))
    matrix[rows, columns] = matrix[columns, rows] = values
    return matrix


def _enrolling(
    figure: Figure,
    name: str,
    photos: list[npt.NDArray[np.uint8]],
    grams: list[Matrix],
    operator: Matrix,
) -> None:
    _title(figure, 0.95, f"Enrolling {name}: add up Gram matrices, solve once")
    for i, (photo, gram) in enumerate(zip(photos, grams, strict=True)):
        left = 0.03 + 0.145 * i
        _photo(figure, (left, 0.76, 0.115, 0.16), photo)
        _matrix(figure, (left, 0.54, 0.115, 0.18), gram, f"S'S of photo {i + 1}")
        _write(figure, left + 0.13, 0.63, "+" if i + 1 < len(photos) else "=", 16)
    _matrix(figure, (0.475, 0.54, 0.115, 0.18), np.sum(grams, axis=0), "S'S of the species")
    _write(figure, 0.69, 0.66, "W = I - ρ (S'S + λI)⁻¹ S'S", 11)
    _write(figure, 0.69, 0.61, "→", 18)
    _matrix(figure, (0.80, 0.51, 0.16, 0.25), operator, "W², the operator of the species")


def _classifying(
    figure: Figure,
    names: list[str],
    photo: npt.NDArray[np.uint8],
    gram: Matrix,
    operators: list[Matrix],
) -> None:
    _title(figure, 0.42, "Classifying a new photo: one inner product with each species")
    _photo(figure, (0.03, 0.12, 0.13, 0.19), photo)
    _write(figure, 0.185, 0.215, "→", 18)
    _matrix(figure, (0.21, 0.09, 0.16, 0.25), gram, "Q'Q of the photo")
    distances = [float((gram * operator).sum()) for operator in operators]
    for i, (name, operator, distance) in enumerate(zip(names, operators, distances, strict=True)):
        bottom = 0.225 - 0.21 * i
        best = distance == min(distances)
        style = {"weight": "bold", "color": "#2e7d32"} if best else {}
        _write(figure, 0.415, bottom + 0.075, "·", 22)
        _matrix(figure, (0.45, bottom, 0.10, 0.15), operator, "")
        _write(figure, 0.565, bottom + 0.075, f"W² of {name}", 11, "left")
        result = f"D = {distance:.0f}" + (", the nearest" if best else "")
        _write(figure, 0.785, bottom + 0.075, f"=   {result}", 12, "left", **style)


def _title(figure: Figure, y: float, text: str) -> None:
    _write(figure, 0.03, y, text, 14, "left", weight="bold")


def _write(
    figure: Figure, x: float, y: float, text: str, size: int, ha: str = "center", **style: str
) -> None:
    figure.text(x, y, text, fontsize=size, ha=ha, va="center", **style)


def _photo(figure: Figure, place: tuple[float, float, float, float], photo: npt.NDArray[np.uint8]) -> None:
    _axes(figure, place).imshow(photo)


def _matrix(figure: Figure, place: tuple[float, float, float, float], matrix: Matrix, title: str) -> None:
    axes = _axes(figure, place)
    # By the root of the values: a few channels are far above the others.
    shown = np.sign(matrix) * np.sqrt(np.abs(matrix))
    # An operator is near the identity: its diagonal would leave all else white.
    limit = np.quantile(np.abs(shown), 0.98)
    axes.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_title(title, fontsize=9, pad=3)


def _axes(figure: Figure, place: tuple[float, float, float, float]) -> Any:
    axes = figure.add_axes(place)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
