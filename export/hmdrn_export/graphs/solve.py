"""Ridge solve by matrix products alone: ONNX and TensorRT have neither solve nor inverse."""

from __future__ import annotations

import torch
from torch import Tensor, bmm  # not @, which takes twice as long to trace

STEPS = 24
"""Newton-Schulz steps; enough for condition numbers up to 1e5."""


def newton_schulz(gram: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shrinkage lambda (G + lambda I)^-1 = I - H of positive semidefinite Gram matrices.

    X <- X (2 I - A X) with A = G / lambda + I, from X = 2 / (1 + |A|_inf) I, the start that balances both
    ends of the spectrum (Schulz, 1933; Ben-Israel and Cohen, 1966). Requires float32: with half or TF32
    products it stalls near 1 %.

    Args:
        gram: G, symmetric positive semidefinite, float32 (C, d, d).
        lam: Lambda, (C, 1, 1), above 0.

    Returns:
        X, (C, d, d), and the residual max |I - A X| of every matrix, (C,): near 1 if it did not converge.
    """
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    M = gram / lam
    A = M + identity
    largest = A.abs().sum(dim=-1, keepdim=True).amax(dim=-2, keepdim=True)
    X = 2.0 / (1.0 + largest) * identity
    twice = 2.0 * identity  # here, not in the loop: each step's would be a constant of its own in the graph
    for _ in range(STEPS - 1):
        X = bmm(X, twice - bmm(A, X))
    # I - A X formed as (I - X) - M X does not round d diagonal entries near 1. A last step with it makes H as
    # exact as |H| allows where H is of low rank; the step before would leave an error of sqrt(d) units.
    X = X + bmm(X, identity - X - bmm(M, X))
    residual = (identity - X - bmm(M, X)).abs().amax(dim=(-2, -1))
    return X, residual
