"""Groups of photos that count as one: copies, crops and neighboring frames of one scene.

Two photos' *likeness* is the mean of two correlations: of the network's Gram matrices of level high (their
cosine), and of the photos' sketches, 8 x 8 gray values. The first stays high if the subject moves a little,
the second if the file is compressed or scaled. `COPY` joins at most 1.5 % of the pairs of different photos of
one species in each of eight data sets with the default model, and at most 1.4 % with Conv-4
(`python -m benchmarks.photo_groups`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics

COPY, BURST_COPY = 0.8, 0.7
"""Likeness from which two photos count as one; the second if both were taken within `BURST_SECONDS`."""
BURST_SECONDS = 3.0


def measure_likeness(network: Network, photos: Sequence[PhotoStatistics]) -> Float32:
    """Return the likeness of every two of N photos, float32 (N, N), -0.5 to 1."""
    grams = _normalize(np.stack([_flatten_gram(network, photo) for photo in photos]))
    values = [np.frombuffer(photo.sketch or bytes(1), np.uint8) for photo in photos]
    sketches = np.zeros((len(photos), max(map(len, values))), np.float32)
    for row, sketch in zip(sketches, values, strict=True):
        row[: len(sketch)] = sketch - sketch.mean()
    sketches = _normalize(sketches)
    return np.asarray((grams @ grams.T + sketches @ sketches.T) / 2)


def group_photos(network: Network, photos: Sequence[PhotoStatistics]) -> list[int]:
    """Return the group of each photo: the index of the group's first photo.

    Photos of one group are linked by pairs that count as one: in a film, neighboring frames link the others.
    """
    groups = list(range(len(photos)))
    if len(photos) < 2:
        return groups
    likeness = measure_likeness(network, photos)
    alike = (likeness >= COPY) | (likeness >= BURST_COPY) & _find_bursts(photos)
    for i, j in np.argwhere(np.triu(alike, 1)).tolist():
        first, second = sorted((groups[i], groups[j]))
        groups = [first if group == second else group for group in groups]
    return groups


def _find_bursts(photos: Sequence[PhotoStatistics]) -> npt.NDArray[np.bool_]:
    """Return true for every two photos that were taken within `BURST_SECONDS`, by their EXIF, (N, N)."""
    taken = [photo.record.taken for photo in photos]
    seconds = np.array([datetime.fromisoformat(t.rstrip("Z")).timestamp() if t else np.nan for t in taken])
    return np.asarray(np.abs(seconds[:, None] - seconds) <= BURST_SECONDS)


def _flatten_gram(network: Network, photo: PhotoStatistics) -> Float32:
    """Return the Gram matrix of level high as a vector whose inner products are those of the matrices."""
    level = network.levels[0]
    if network.head == "attention":
        tokens = photo.arrays[f"k_{level.name}"]
    elif network.statistics == "gram":
        weights = np.sqrt(2 - np.eye(level.channels, dtype=np.float32)[np.triu_indices(level.channels)])
        return np.asarray(photo.arrays["support"][: level.packed] * weights)
    else:
        tokens = photo.arrays["support"][: level.tokens * level.channels].reshape(
            level.tokens, level.channels
        )
    return np.asarray(tokens.T @ tokens).reshape(-1)


def _normalize(rows: Float32) -> Float32:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
