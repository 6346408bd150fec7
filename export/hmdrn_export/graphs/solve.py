"""The ridge solve as matrix products alone: ONNX and TensorRT have neither solve nor inverse."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 24
"""Newton-Schulz steps; enough for condition numbers up to 1e5."""


def newton_schulz(gram: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    """The shrinkage lambda (G + lambda I)^-1, which is I - H, of positive semidefinite Gram matrices.

    X <- X (2 I - A X) with A = G / lambda + I, from X = 2 / (1 + |A|_inf) I, the start that balances both
    ends of the spectrum (Schulz, 1933; Ben-Israel and Cohen, 1966). It must run in float32: with half or TF32
    products it stalls near 1 %.

    Args:
        gram: G, symmetric positive semidefinite, float32 (C, d, d).
        lam: Lambda, (C, 1, 1), above 0.

    Returns:
        X, (C, d, d), and max |I - A X| of every matrix, (C,): near 1 where it did not converge.
    """
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    M = gram / lam
    A = M + identity
    largest = A.abs().sum(dim=-1, keepdim=True).amax(dim=-2, keepdim=True)
    X = 2.0 / (1.0 + largest) * identity
    for _ in range(STEPS - 1):
        X = X @ (2.0 * identity - A @ X)
    # I - A X formed as (I - X) - M X has no rounding of d diagonal entries near 1: a last step with it makes
    # H as exact as |H| allows where H is of low rank, and the step before would leave sqrt(d) units.
    X = X + X @ (identity - X - M @ X)
    residual = (identity - X - M @ X).abs().amax(dim=(-2, -1))
    return X, residual
