"""Attention heads: a class is represented by the keys and values of all its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics, array_shapes
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.base import Matcher


class AttentionMatcher(Matcher):
    """Represents a class by the keys and values of all its tokens, padded to the largest class."""

    def _enroll_outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Float32]:
        return self.backend.run("enroll", {"images": pixels})

    def class_operands(self, species: Sequence[Species]) -> dict[str, npt.NDArray[Any]]:
        """Return k, v (C, n, d) and valid, bool (C, n), of every level; n is that of the largest class."""
        shots = max(s.shots for s in species)
        operands: dict[str, npt.NDArray[Any]] = {}
        for name, (tokens, channels) in array_shapes(self.network).items():
            padded = np.zeros((len(species), shots * tokens, channels), dtype=np.float32)
            for row, s in zip(padded, species, strict=True):
                row[: s.shots * tokens] = support_tokens(s, name)
            operands[name] = padded
        for level in self.network.levels:
            counts = np.array([s.shots * level.tokens for s in species])
            operands[f"valid_{level.name}"] = np.arange(shots * level.tokens)[None] < counts[:, None]
        return operands

    def compare(
        self,
        photos: Sequence[PhotoStatistics],
        pixels: Mapping[str, npt.NDArray[np.uint8]],
        species: Sequence[Species],
    ) -> Float32:
        """As `Matcher.compare`; needs the pixels: keys and values do not determine a query's tokens."""
        logits = np.full((len(photos), len(species)), np.nan, np.float32)
        rows = [row for row, photo in enumerate(photos) if photo.digest in pixels]
        if rows and species:
            images = np.stack([pixels[photos[row].digest] for row in rows])
            logits[rows] = self.classify(images, self.place(self.class_operands(species))).logits
        return logits


def support_tokens(species: Species, name: str) -> Float32:
    """Return keys or values of all tokens of a class's photos, (n, d), by array name, e.g. "k_high"."""
    return np.concatenate([species.photos[key].arrays[name] for key in sorted(species.photos)])
