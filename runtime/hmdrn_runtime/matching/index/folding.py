"""The fusion weights folded into the vectors: a logit is then a single inner product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64

_HALF_UNIT = 2.0**-24
_DEVIATIONS = 6.0


def rounding_error(terms: int) -> float:
    """Return the relative error of a float32 inner product, in units of the product of the norms.

    Higham and Mary, SIAM J. Sci. Comput. 41 (2019), theorem 3.1: sqrt(n) u instead of the worst case n u,
    with a failure probability of 2 exp(-6^2 / 2) for a sum term by term; libraries sum in many short runs
    and stay far below.
    """
    return _DEVIATIONS * float(np.sqrt(terms)) * _HALF_UNIT


@dataclass(frozen=True, eq=False)
class Folding:
    """Factors that turn operators and Gram matrices into vectors whose inner product is the logit.

    Off-diagonal entries stand for two entries of a symmetric matrix: the vectors' inner product is the
    Frobenius product, for which a bound by norms is tightest.

    Attributes:
        operator: float32 (P,), factors of an operator.
        gram: float64 (P,), factors of a photo's packed Gram matrix for the product with a folded operator.
        plain: float64 (P,), the same for the product with an unfolded operator.
    """

    operator: Float32
    gram: Float64
    plain: Float64

    @classmethod
    def from_network(cls, network: Network) -> Folding:
        """Return the folding of a ridge network."""
        weights, shares = [], []
        for level in network.levels:
            rows, columns = np.triu_indices(level.channels)
            factor = network.fusion.weights[level.name] * network.fusion.scale / network.fusion.divisor
            weights.append(np.full(level.packed, factor))
            shares.append(np.where(rows == columns, 1.0, np.sqrt(2.0)))
        weight, share = np.concatenate(weights), np.concatenate(shares)
        operator = (np.abs(weight) / share).astype(np.float32)
        # A level of weight 0 is left out of both.
        gram = np.divide(-weight, operator, out=np.zeros_like(weight), where=operator > 0)
        return cls(operator, gram, -weight)
