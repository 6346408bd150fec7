"""The weights of fusion, folded into one vector: a logit is then a single inner product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64

_HALF_UNIT = 2.0**-24
_DEVIATIONS = 6.0


def rounding(terms: int) -> float:
    """Relative error of a float32 inner product, in units of the product of the vectors' norms.

    Higham and Mary, SIAM J. Sci. Comput. 41 (2019), theorem 3.1: sqrt(n) u instead of the worst case n u,
    failing with a probability of 2 exp(-6^2 / 2), were the product summed term by term; libraries sum in
    many short runs and stay far below.
    """
    return _DEVIATIONS * float(np.sqrt(terms)) * _HALF_UNIT


@dataclass(frozen=True, eq=False)
class Folding:
    """What turns operators and Gram matrices into vectors whose inner product is the logit.

    Off-diagonal entries stand for two entries of a symmetric matrix: the vectors' inner product is that of
    Frobenius, in which a bound by norms is tightest.

    Attributes:
        operator: float32 (P,), what an operator is multiplied with.
        gram: float64 (P,), what a photo's packed Gram matrix is multiplied with, to meet a folded operator.
        plain: float64 (P,), the same to meet an operator as it is.
    """

    operator: Float32
    gram: Float64
    plain: Float64

    @classmethod
    def of(cls, network: Network) -> Folding:
        """The folding of a ridge network."""
        weights, shares = [], []
        for level in network.levels:
            rows, columns = np.triu_indices(level.channels)
            factor = network.fusion.weights[level.name] * network.fusion.scale / network.fusion.divisor
            weights.append(np.full(level.packed, factor))
            shares.append(np.where(rows == columns, 1.0, np.sqrt(2.0)))
        weight, share = np.concatenate(weights), np.concatenate(shares)
        operator = (np.abs(weight) / share).astype(np.float32)
        # A level that weighs nothing is left out of both.
        gram = np.divide(-weight, operator, out=np.zeros_like(weight), where=operator > 0)
        return cls(operator, gram, -weight)
