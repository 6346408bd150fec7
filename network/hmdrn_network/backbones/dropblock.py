"""DropBlock: dropping contiguous regions of feature maps (Ghiasi et al., NeurIPS 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DropBlock(nn.Module):
    """Zeroes square blocks of a map while training, and rescales the rest to the same mean.

    Args:
        drop_rate: Expected share of dropped units, in [0, 1).
        block_size: Side of a block in units, odd; cut to the map's side where that is smaller.
    """

    def __init__(self, drop_rate: float, block_size: int = 5) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.block_size = block_size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape; the identity in evaluation or at rate 0."""
        if not self.training or self.drop_rate == 0.0:
            return x
        height, width = x.shape[-2:]
        size = min(self.block_size, height, width)
        # gamma, the paper's eq. 1: the rate of block corners that gives drop_rate units.
        valid = (height - size + 1) * (width - size + 1)
        gamma = self.drop_rate * height * width / (size * size * valid)
        corners = (
            torch.rand(x.shape[0], x.shape[1], height - size + 1, width - size + 1, device=x.device) < gamma
        )
        padded = F.pad(corners.to(x.dtype), (size - 1,) * 4)
        keep = 1.0 - F.max_pool2d(padded, size, stride=1)
        # Counted in float32: a half-precision sum overflows.
        return x * keep * (keep.numel() / keep.float().sum().clamp(min=1.0)).to(x.dtype)
