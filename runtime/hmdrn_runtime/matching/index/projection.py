"""Projection to the few directions in which operators and photos differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmdrn_runtime.gallery.photo_statistics import Float32, Float64

RANK = 1024
"""Number of directions. Fewer exclude fewer classes, more take longer to compare."""
SAMPLE = 3000
"""Species that a basis is fitted to."""
_EXTRA = 64
_ROUNDS = 4
_SEED = 0


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal directions, and the means subtracted before the projection.

    Attributes:
        axes: float32 (R, P), orthonormal rows.
        operator: float64 (P,), mean of the folded operators.
        gram: float64 (P,), mean of the folded Gram matrices.
        skew: Deviation of the axes from orthonormal, |axes axes' - I|_F.
    """

    axes: Float32
    operator: Float64
    gram: Float64
    skew: float

    @classmethod
    def from_axes(cls, axes: Float32, operator: Float64, gram: Float64) -> Basis:
        """Return a basis with the skew of these axes."""
        product = axes.astype(np.float64) @ axes.T.astype(np.float64)
        return cls(axes, operator, gram, float(np.linalg.norm(product - np.eye(len(axes)))))


def fit_basis(operators: Float32, grams: Float32, rank: int = RANK) -> Basis:
    """Find directions that leave small residuals of operators and photos.

    By Cauchy-Schwarz the error is at most |residual of the operator| |residual of the photo|. The expectation
    of this product is minimal for the first eigenvectors of the sum of both covariances, each divided by its
    own residual. They are found by subspace iteration (Halko, Martinsson and Tropp, SIAM Review 53, 2011),
    whose accuracy is sufficient: the bound holds for any orthonormal axes.

    Args:
        operators: Folded operators (N, P).
        grams: Folded Gram matrices (M, P), of photos like those to be classified.
        rank: Number of directions.
    """
    size = operators.shape[1]
    rank = min(rank, size)
    means = [part.mean(axis=0, dtype=np.float64) for part in (operators, grams)]
    centered = [part - mean.astype(np.float32) for part, mean in zip((operators, grams), means, strict=True)]
    covariances = [part.T @ part / len(part) for part in centered]
    totals = residuals = [float(np.trace(covariance)) for covariance in covariances]
    axes = np.random.default_rng(_SEED).standard_normal((size, min(rank + _EXTRA, size))).astype(np.float32)
    for _ in range(_ROUNDS):
        # A residual may be 0.
        both = sum(c / max(residual, 1e-30) for c, residual in zip(covariances, residuals, strict=True))
        axes = np.linalg.qr(both @ axes)[0]
        explained = [float(np.einsum("pr,pr->", axes, c @ axes)) for c in covariances]
        residuals = [max(t - e, 1e-6 * t) for t, e in zip(totals, explained, strict=True)]
    small = axes.T @ (both @ axes)
    best = np.linalg.eigh(small.astype(np.float64))[1][:, ::-1][:, :rank]
    axes = np.linalg.qr(axes.astype(np.float64) @ best)[0]
    return Basis.from_axes(np.ascontiguousarray(axes.T, dtype=np.float32), *means)
