"""The ridge solve as matrix products alone: ONNX and TensorRT have neither solve nor inverse."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 24
"""Newton-Schulz steps; enough for condition numbers up to 1e5."""


def newton_schulz(A: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of symmetric positive definite matrices whose smallest eigenvalue is known from below.

    X <- X (2 I - A X) from X = 2 / (floor + |A|_inf) I, the start that balances both ends of the
    spectrum (Schulz, 1933; Ben-Israel and Cohen, 1966). It must run in float32: with half or TF32
    products it stalls near 1 %.

    Args:
        A: Symmetric positive definite, float32 (C, d, d).
        floor: Lower bound of the eigenvalues of A, (C, 1, 1), above 0.

    Returns:
        X, about A^-1, (C, d, d), and max |I - A X| of every matrix, (C,): near 1 where it did not converge.
    """
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    largest = A.abs().sum(dim=-1, keepdim=True).amax(dim=-2, keepdim=True)
    X = 2.0 / (floor + largest) * identity
    for _ in range(STEPS):
        X = X @ (2.0 * identity - A @ X)
    residual = (identity - A @ X).abs().amax(dim=(-2, -1))
    return X, residual
