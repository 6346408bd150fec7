"""Draw gram-matrix.png: enrolling is a sum of Gram matrices, classifying an inner product with an operator.

The matrices are those of the default model for drawn specimens (level high, channels x channels); each
distance is the inner product of the two matrices before it.

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
from hmdrn_runtime.gallery.photo_statistics import packed_gram
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

Matrix = npt.NDArray[np.float64]

PICTURE = Path(__file__).with_name("gram-matrix.png")
SPECIES = (11, 3)
SHOTS = 3


def main(path: Path = PICTURE) -> None:
    """Draw the figure into a file."""
    # Not the graphs that are the fastest here: the figure is the same on every machine.
    birds = hmdrn.load("default", threads=1, variant="fp32")
    images = draw_specimens(SPECIES, SHOTS + 1, size=160)
    names = [name_species(i) for i in SPECIES]
    for name, photos in zip(names, images, strict=True):
        birds.enroll(name, photos[:SHOTS])
    network = birds.bundle.manifest.network
    channels = network.levels[0].channels
    species = [birds.gallery.species[name] for name in names]
    operands = birds.matcher.class_operands(species)["operator"]
    (query,) = birds.matcher.compute_statistics(prepare_photo(birds, images[0][SHOTS])[None])
    gram = unpack_gram(packed_gram(network, query.arrays["query"]), channels)
    # The off-diagonals of a packed operator are doubled, for the inner product of triangles.
    operators = [unpack_gram(o, channels, doubled=True) for o in operands]
    shots = [
        unpack_gram(packed_gram(network, photo.arrays["support"]), channels)
        for image in images[0][:SHOTS]
        for photo in birds.matcher.compute_statistics(prepare_photo(birds, image)[None])
    ]
    figure = plt.figure(figsize=(11.5, 7.4), facecolor="white")
    _draw_enrollment(figure, names[0], list(images[0][:SHOTS]), shots, operators[0])
    _draw_classification(figure, names, images[0][SHOTS], gram, operators)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def prepare_photo(birds: hmdrn.Recognizer, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the network's input of an image, uint8 (side, side, 3)."""
    from hmdrn_runtime.images.preprocessing import prepare

    return prepare(image, birds.preprocessing)


def unpack_gram(packed: npt.NDArray[np.floating[Any]], channels: int, doubled: bool = False) -> Matrix:
    """Return the symmetric matrix (channels, channels) of level high from packed triangles (P,)."""
    rows, columns = np.triu_indices(channels)
    values = packed[: len(rows)].astype(np.float64)
    if doubled:
        values = np.where(rows == columns, values, values / 2)
    matrix = np.zeros((channels, channels))
    matrix[rows, columns] = matrix[columns, rows] = values
    return matrix


def _draw_enrollment(
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


def _draw_classification(
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
    # The square root: a few channels are far above the others.
    roots = np.sign(matrix) * np.sqrt(np.abs(matrix))
    # An operator is near the identity: scaled to its diagonal, everything else would be white.
    limit = np.quantile(np.abs(roots), 0.98)
    axes.imshow(roots, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_title(title, fontsize=9, pad=3)


def _axes(figure: Figure, place: tuple[float, float, float, float]) -> Any:
    axes = figure.add_axes(place)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
