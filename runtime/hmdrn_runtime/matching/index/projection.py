"""The few directions in which operators and photos differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmdrn_runtime.gallery.photo_statistics import Float32, Float64

RANK = 1024
"""Directions that are kept. Fewer exclude fewer classes, more take longer to compare."""
SAMPLE = 3000
"""Species that a basis is fitted to."""
_EXTRA = 64
_ROUNDS = 4
_SEED = 0


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal directions, and the means that are subtracted before.

    Attributes:
        axes: float32 (R, P), orthonormal rows.
        operator: float64 (P,), mean of the folded operators.
        gram: float64 (P,), mean of the folded Gram matrices.
        skew: How far the axes are from orthonormal, |axes axes' - I|_F.
    """

    axes: Float32
    operator: Float64
    gram: Float64
    skew: float

    @classmethod
    def of(cls, axes: Float32, operator: Float64, gram: Float64) -> Basis:
        """A basis of axes whose skew is measured here."""
        product = axes.astype(np.float64) @ axes.T.astype(np.float64)
        return cls(axes, operator, gram, float(np.linalg.norm(product - np.eye(len(axes)))))


def fit_basis(operators: Float32, grams: Float32, rank: int = RANK) -> Basis:
    """Directions outside which the product of what is left of operators and of photos is small.

    What is left bounds the error by Cauchy-Schwarz, |rest of the operator| |rest of the photo|. Of that
    product's expectation the minimum is where the directions are the first eigenvectors of both covariances,
    each divided by its own rest; found by subspace iteration (Halko, Martinsson and Tropp, SIAM Review 53,
    2011), which needs no more accuracy than that: any orthonormal axes bound rightly.

    Args:
        operators: Folded operators (N, P).
        grams: Folded Gram matrices (M, P), of photos like those to be classified.
        rank: Number of directions.
    """
    size = operators.shape[1]
    rank = min(rank, size)
    means = [part.mean(axis=0, dtype=np.float64) for part in (operators, grams)]
    centred = [part - mean.astype(np.float32) for part, mean in zip((operators, grams), means, strict=True)]
    covariances = [part.T @ part / len(part) for part in centred]
    rests = [float(np.trace(covariance)) for covariance in covariances]
    axes = np.random.default_rng(_SEED).standard_normal((size, min(rank + _EXTRA, size))).astype(np.float32)
    for _ in range(_ROUNDS):
        # Divided by what is left, and by something where nothing is.
        both = sum(c / max(rest, 1e-30) for c, rest in zip(covariances, rests, strict=True))
        axes = np.linalg.qr(both @ axes)[0]
        kept = [float(np.einsum("pr,pr->", axes, c @ axes)) for c in covariances]
        rests = [
            max(float(np.trace(c)) - k, 1e-6 * float(np.trace(c)))
            for c, k in zip(covariances, kept, strict=True)
        ]
    small = axes.T @ (both @ axes)
    best = np.linalg.eigh(small.astype(np.float64))[1][:, ::-1][:, :rank]
    axes = np.linalg.qr(axes.astype(np.float64) @ best)[0]
    return Basis.of(np.ascontiguousarray(axes.T, dtype=np.float32), *means)
