"""Attention: a class is the keys and values of all its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics, array_shapes
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.base import Matcher


class AttentionMatcher(Matcher):
    """Attention: a class is the keys and values of all its tokens, padded to the largest class."""

    def _enroll_outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Float32]:
        return self.backend.run("enroll", {"images": pixels})

    def class_operands(self, species: Sequence[Species]) -> dict[str, npt.NDArray[Any]]:
        """k, v (C, n, d) and valid, bool (C, n), of every level; n is that of the class with most photos."""
        most = max(s.shots for s in species)
        operands: dict[str, npt.NDArray[Any]] = {}
        for name, (tokens, channels) in array_shapes(self.network).items():
            padded = np.zeros((len(species), most * tokens, channels), dtype=np.float32)
            for row, s in zip(padded, species, strict=True):
                filled = support_tokens(s, name)
                row[: len(filled)] = filled
            operands[name] = padded
        for level in self.network.levels:
            counts = np.array([s.shots * level.tokens for s in species])
            operands[f"valid_{level.name}"] = np.arange(most * level.tokens)[None] < counts[:, None]
        return operands

    def compare(
        self,
        photos: Sequence[PhotoStatistics],
        pixels: Mapping[str, npt.NDArray[np.uint8]],
        species: Sequence[Species],
    ) -> Float32:
        """As `Matcher.compare`; keys and values do not tell a query's tokens: it takes the pixels."""
        logits = np.full((len(photos), len(species)), np.nan, np.float32)
        rows = [row for row, photo in enumerate(photos) if photo.digest in pixels]
        if rows and species:
            images = np.stack([pixels[photos[row].digest] for row in rows])
            logits[rows] = self.classify(images, self.place(self.class_operands(species))).logits
        return logits


def support_tokens(species: Species, name: str) -> Float32:
    """Attention: keys or values of all tokens of a class's photos (n, d), by their name, e.g. "k_high"."""
    return np.concatenate([species.photos[key].arrays[name] for key in sorted(species.photos)])
