"""Ridge reconstruction in closed form (FRN, Wertheimer et al., CVPR 2021, eq. 8 and 10).

With S the support tokens of a class, (n, d), and Q those of a query photo:

    lambda = (n / d) exp(alpha) + 1e-6,  rho = exp(beta)
    H = (S'S + lambda I)^-1 S'S,  Qhat = rho Q H,  D = |Q - Qhat|^2

Only the Gram matrix S'S and n enter. With W = I - rho H = (1 - rho) I + rho lambda (S'S + lambda I)^-1,
which has no cancellation, D = <Q'Q, W^2>: one inner product between the query's Gram matrix and the
class's operator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LAMBDA_FLOOR = 1e-6


def triangle(channels: int) -> tuple[Tensor, Tensor]:
    """Return row and column of every entry of the packed upper triangle, row by row: two int64 (P,)."""
    rows, columns = torch.triu_indices(channels, channels).unbind()
    return rows, columns


def pack(symmetric: Tensor) -> Tensor:
    """Pack upper triangles, row by row: (..., d, d) to (..., d (d + 1) / 2)."""
    channels = symmetric.shape[-1]
    rows, columns = triangle(channels)
    flat = symmetric.flatten(-2)
    index = (rows * channels + columns).to(symmetric.device)
    # Not index_select: ONNX Runtime's Gather takes several times as long as its GatherElements.
    return flat.gather(flat.dim() - 1, index.expand(*flat.shape[:-1], -1))


def unpack(packed: Tensor, channels: int) -> Tensor:
    """Invert `pack`: (..., d (d + 1) / 2) to symmetric (..., d, d)."""
    rows, columns = triangle(channels)
    index = torch.empty(channels, channels, dtype=torch.int64)
    index[rows, columns] = index[columns, rows] = torch.arange(rows.numel())
    flat = packed.index_select(-1, index.flatten().to(packed.device))
    return flat.reshape(*packed.shape[:-1], channels, channels)


def doubled_off_diagonals(channels: int) -> Tensor:
    """Return weights, float32 (P,), 1 or 2, for the inner product of packed symmetric matrices."""
    rows, columns = triangle(channels)
    return torch.where(rows == columns, 1.0, 2.0)


def gram(tokens: Tensor) -> Tensor:
    """Return the Gram matrices S'S, (..., d, d), of tokens (..., n, d)."""
    return tokens.transpose(-2, -1) @ tokens


class RidgeHead(nn.Module):
    """Reconstructs query tokens from a class's support tokens by ridge regression.

    Args:
        channels: d, the dimension of a token.
        alpha: Initial alpha; near 5 the solve is well conditioned for wide tokens too.
    """

    def __init__(self, channels: int, alpha: float = 5.0) -> None:
        super().__init__()
        self.channels = channels
        self.alpha = nn.Parameter(torch.tensor(alpha))
        self.beta = nn.Parameter(torch.tensor(0.0))

    def regularization(self, n: Tensor) -> Tensor:
        """Return lambda for n support tokens, (C,) to (C,)."""
        return n / self.channels * self.alpha.exp() + LAMBDA_FLOOR

    def operator(self, support_gram: Tensor, n: Tensor) -> Tensor:
        """Return W^2 of every class.

        Args:
            support_gram: S'S, (C, d, d).
            n: Number of support tokens, shots x locations, floating (C,).

        Returns:
            W^2, symmetric, (C, d, d).
        """
        identity = torch.eye(self.channels, dtype=support_gram.dtype, device=support_gram.device)
        lam, rho = self.regularization(n)[:, None, None], self.beta.exp()
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(support_gram + lam * identity))
        W = (1 - rho) * identity + rho * lam * inverse
        return W @ W

    def forward(self, query: Tensor, support: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return squared reconstruction distances.

        Args:
            query: Query tokens (B, T, d).
            support: Support tokens by class (C, n, d).
            valid: True for real support tokens, bool (C, n); all are real if None.

        Returns:
            D, (B, C), at least 0.
        """
        if valid is None:
            n = support.new_full((support.shape[0],), support.shape[1])
        else:
            support = support * valid[..., None].to(support.dtype)
            n = valid.sum(dim=1).to(support.dtype)
        operator = self.operator(gram(support), n)
        # Rounding may bring a vanishing distance below zero.
        return (gram(query).flatten(1) @ operator.flatten(1).T).relu()
