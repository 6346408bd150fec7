"""Operators as the vectors of an engine that searches by inner product."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.matching.index.folding import Folding


@dataclass(frozen=True, eq=False)
class VectorForm:
    """How operators and photos become vectors, and scores logits.

    An operator is folded (`large.Folding`) and loses the mean of all: <operator - mean, photo> ranks as the
    logit does, which is larger by <mean, photo>, the same for all species. Without that, all vectors would
    point the same way, and an engine that walks a graph of neighbours would find its way badly.

    Attributes:
        network: A ridge network.
        mean: What is taken from folded operators, float32 (P,). Any will do, if it is always the same.
    """

    network: Network
    mean: Float32

    @cached_property
    def _folding(self) -> Folding:
        return Folding.of(self.network)

    @classmethod
    def of(cls, network: Network, operators: Float32) -> VectorForm:
        """The form for species like those with these operators, float32 (N, P)."""
        folded = operators.mean(axis=0, dtype=np.float64) * Folding.of(network).operator
        return cls(network, folded.astype(np.float32))

    def vectors(self, operators: Float32) -> Float32:
        """What the engine keeps of operators (N, P), float32 (N, P)."""
        return np.asarray(operators * self._folding.operator - self.mean)

    def query(self, gram: Float32) -> Float64:
        """What the engine is asked for a photo with a packed query Gram matrix (P,), float64 (P,)."""
        return np.asarray(gram * self._folding.gram, np.float64)

    def scores(self, vectors: Float32, query: Float64) -> tuple[Float64, dict[str, Float64]]:
        """Logits (C,) and distances by level (C,) of vectors (C, P), computed in float64.

        The distances of a level that weighs nothing in the logit are NaN: its operators are not kept.
        """
        logits, distances = np.zeros(len(vectors)), {}
        fusion, start = self.network.fusion, 0
        for level in self.network.levels:
            part = slice(start, start + level.packed)
            products = (vectors[:, part].astype(np.float64) + self.mean[part]) @ query[part]
            weight = fusion.weights[level.name] * fusion.scale / fusion.divisor
            distances[level.name] = np.maximum(products / -weight if weight else products * np.nan, 0)
            logits += products
            start += level.packed
        return logits, distances
