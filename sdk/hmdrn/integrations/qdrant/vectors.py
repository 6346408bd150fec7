"""Vectors for an engine that searches by inner product."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64, level_slices
from hmdrn_runtime.matching.index.folding import Folding


@dataclass(frozen=True, eq=False)
class VectorForm:
    """Converts operators and photos to vectors, and scores logits.

    An operator is folded (`Folding`), and the mean of all is subtracted: <operator - mean, photo> ranks as
    the logit does, which is larger by <mean, photo>, the same for all species. Otherwise all vectors would
    point the same way, which an engine that searches a graph of neighbors handles badly.

    Attributes:
        network: A ridge network.
        mean: The mean of folded operators, float32 (P,). Any vector works if it never changes.
    """

    network: Network
    mean: Float32

    @cached_property
    def _folding(self) -> Folding:
        return Folding.from_network(self.network)

    @classmethod
    def fit(cls, network: Network, operators: Float32) -> VectorForm:
        """Make the form for species like those with these operators, float32 (N, P)."""
        folded = operators.mean(axis=0, dtype=np.float64) * Folding.from_network(network).operator
        return cls(network, folded.astype(np.float32))

    def to_vectors(self, operators: Float32) -> Float32:
        """Return the vectors of operators (N, P), float32 (N, P)."""
        return np.asarray(operators * self._folding.operator - self.mean)

    def to_query(self, gram: Float32) -> Float64:
        """Return the query vector, float64 (P,), of a photo's packed query Gram matrix (P,)."""
        return np.asarray(gram * self._folding.gram, np.float64)

    def score(self, vectors: Float32, query: Float64) -> tuple[Float64, dict[str, Float64]]:
        """Return the logits (C,) and the distances by level (C,) of vectors (C, P), computed in float64.

        The distances of a level of weight 0 in the logit are NaN: its operators are not stored.
        """
        logits, distances = np.zeros(len(vectors)), {}
        fusion = self.network.fusion
        for name, part in level_slices(self.network).items():
            products = (vectors[:, part].astype(np.float64) + self.mean[part]) @ query[part]
            weight = fusion.weights[name] * fusion.scale / fusion.divisor
            distances[name] = np.maximum(products / -weight if weight else products * np.nan, 0)
            logits += products
        return logits, distances
