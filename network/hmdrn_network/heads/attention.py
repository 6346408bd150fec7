"""Reconstruction by attention: the head of the authors' released weights (HMDRN, arXiv 2506.20263)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class AttentionHead(nn.Module):
    """Reconstructs a query's values as a softmax mixture of a class's support values.

    Vhat = softmax(q_query k_support' / sqrt(d)) v_support over all support tokens of the class,
    D = |v_query - Vhat|^2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v of tokens (..., d), each (..., d)."""
        q, k, v = self.qkv(tokens).split(self.channels, dim=-1)
        return q, k, v

    def distances(
        self, q: Tensor, v: Tensor, support_k: Tensor, support_v: Tensor, valid: Tensor | None
    ) -> Tensor:
        """Return the distances of projected tokens.

        Args:
            q: Queries of the query photos (B, T, d).
            v: Values of the query photos (B, T, d).
            support_k: Keys of the classes (C, n, d).
            support_v: Values of the classes (C, n, d).
            valid: True for real support tokens, bool (C, n); all are real if None.

        Returns:
            D, (B, C), at least 0.
        """
        scores = q[:, None] @ support_k.transpose(-2, -1)[None] / math.sqrt(self.channels)
        if valid is not None:
            # Before the softmax, so that padding has weight zero and leaves the others alone. An addition:
            # torch.where over the scores of all queries takes longer than their products.
            scores = scores + torch.where(valid, 0.0, -torch.inf)[None, :, None, :]
        reconstructed = torch.softmax(scores, dim=-1) @ support_v[None]
        return (v[:, None] - reconstructed).square().sum(dim=(-2, -1))

    def forward(self, query: Tensor, support: Tensor, valid: Tensor | None = None) -> Tensor:
        """As `RidgeHead.forward`."""
        q, _, v = self.project(query)
        _, support_k, support_v = self.project(support)
        return self.distances(q, v, support_k, support_v, valid)
