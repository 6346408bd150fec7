"""The masked transformer: mask-enhanced self-reconstruction (HMDRN, arXiv 2506.20263)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 2


def position_table(tokens: int, channels: int) -> Tensor:
    """Return sinusoidal positions, float32 (tokens, channels): sine on even channels, cosine on odd ones."""
    position = torch.arange(tokens, dtype=torch.float64)[:, None]
    even = 2 * (torch.arange(channels, dtype=torch.float64) // 2)
    angle = position / torch.pow(torch.tensor(10000.0, dtype=torch.float64), even / channels)
    return torch.where(torch.arange(channels) % 2 == 0, angle.sin(), angle.cos()).float()


def mask_scores(q: Tensor) -> tuple[Tensor, Tensor]:
    """Return the score of every token and the threshold that it must exceed.

    Args:
        q: Queries of attention, (N, heads, tokens, d / heads).

    Returns:
        Scores (N, heads, tokens), the sums of squared entries, and thresholds (N, heads, 1), their means.
    """
    scores = q.square().sum(dim=-1)
    return scores, scores.mean(dim=-1, keepdim=True)


class MaskedAttention(nn.Module):
    """Multi-head self-attention whose weak query tokens can be masked.

    A masked token has its q set to zero, so that it attends uniformly; it is not dropped.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        self.scale = 1.0 / math.sqrt(channels // HEADS)

    def forward(self, x: Tensor, masked: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Attend over the tokens of each image.

        Args:
            x: Tokens (N, T, d).
            masked: True to mask weak tokens (query images), False for support images.

        Returns:
            Tokens (N, T, d); with the mask also its bits, bool (N, heads, T), true for tokens that keep their
            q, and the relative margins (score - threshold) / threshold of the same shape.
        """
        n, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3 * HEADS, channels // HEADS).transpose(1, 2)
        q, k, v = qkv.split(HEADS, dim=1)
        keep = margin = None
        if masked:
            scores, threshold = mask_scores(q)
            keep = scores > threshold
            margin = (scores - threshold) / threshold
            # Multiplied, not indexed: one shape for every image, and no gradient through the step.
            q = q * keep.unsqueeze(-1).to(q.dtype)
        weights = torch.softmax(q @ k.transpose(-2, -1) * self.scale, dim=-1)
        mixed = (weights @ v).transpose(1, 2).reshape(n, tokens, channels)
        return self.out(mixed), keep, margin


class TransformerLayer(nn.Module):
    """x = x + attn(LN_pre(x)); x = LN(x); x = x + W2 gelu(W1 x), with a hidden width of d."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(channels)
        self.attention = MaskedAttention(channels)
        self.norm = nn.LayerNorm(channels)
        self.mlp_in = nn.Linear(channels, channels)
        self.mlp_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, masked: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """As `MaskedAttention.forward`."""
        attended, keep, margin = self.attention(self.pre_norm(x), masked)
        x = self.norm(x + attended)
        return x + self.mlp_out(F.gelu(self.mlp_in(x))), keep, margin


class MaskedTransformer(nn.Module):
    """Layers of two heads over the locations of one level's map, and a final LayerNorm.

    Args:
        tokens: Locations of the map.
        channels: d, the map's channels.
        layers: Number of layers; the paper has three.
    """

    positions: Tensor

    def __init__(self, tokens: int, channels: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(channels) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        # Derived from the configuration, so not among the weights.
        self.register_buffer("positions", position_table(tokens, channels), persistent=False)

    def explain(self, feature_map: Tensor, masked: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return the tokens with the bits and margins of the mask; arguments as for `forward`.

        Returns:
            Tokens (N, T, d); for each layer the mask bits, bool (N, heads, T), and the margins of the
            scores over their threshold (both lists empty for support images).
        """
        x = feature_map.flatten(2).transpose(1, 2) + self.positions
        bits, margins = [], []
        for layer in self.layers:
            x, keep, margin = layer(x, masked)
            if keep is not None and margin is not None:
                bits.append(keep)
                margins.append(margin)
        return self.norm(x), bits, margins

    def forward(self, feature_map: Tensor, masked: bool) -> Tensor:
        """Return the tokens of a level's map.

        Args:
            feature_map: (N, d, side, side).
            masked: True for query images, False for support images.

        Returns:
            Tokens (N, side * side, d), row by row of the map.
        """
        return self.explain(feature_map, masked)[0]
