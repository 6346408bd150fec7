"""The fusion weights folded into the vectors: a logit is then a single inner product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64


@dataclass(frozen=True, eq=False)
class Folding:
    """Factors that turn operators and Gram matrices into vectors whose inner product is the logit.

    Off-diagonal entries stand for two entries of a symmetric matrix: the vectors' inner product is the
    Frobenius product, for which a bound by norms is tightest.

    Attributes:
        operator: float32 (P,), factors of an operator.
        gram: float64 (P,), factors of a photo's packed Gram matrix for the product with a folded operator.
        plain: float64 (P,), the same for the product with an unfolded operator.
        levels: float64 (L,), factors of the levels' distances, whose sum is the logit.
    """

    operator: Float32
    gram: Float64
    plain: Float64
    levels: Float64

    @classmethod
    def from_network(cls, network: Network) -> Folding:
        """Return the folding of a ridge network."""
        weights, shares, levels = [], [], []
        for level in network.levels:
            rows, columns = np.triu_indices(level.channels)
            factor = network.fusion.weights[level.name] * network.fusion.scale / network.fusion.divisor
            levels.append(-factor)
            weights.append(np.full(level.packed, factor))
            shares.append(np.where(rows == columns, 1.0, np.sqrt(2.0)))
        weight, share = np.concatenate(weights), np.concatenate(shares)
        operator = (np.abs(weight) / share).astype(np.float32)
        # A level of weight 0 is left out of both.
        gram = np.divide(-weight, operator, out=np.zeros_like(weight), where=operator > 0)
        return cls(operator, gram, -weight, np.array(levels))
