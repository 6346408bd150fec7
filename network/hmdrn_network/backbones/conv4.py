"""Conv-4, the four-block backbone of few-shot learning (Vinyals et al., NeurIPS 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from hmdrn_network.config import LevelName


class ConvBlock(nn.Sequential):
    """conv3x3 - BatchNorm - ReLU - maxpool 2: (N, C, H, W) to (N, 64, H // 2, W // 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.add_module("norm", nn.BatchNorm2d(out_channels))
        self.add_module("relu", nn.ReLU())
        self.add_module("pool", nn.MaxPool2d(2))


class Conv4(nn.Module):
    """Four blocks of 64 channels; the maps of the last two are the levels."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvBlock(3 if i == 0 else 64, 64) for i in range(4))

    def forward(self, images: Tensor) -> dict[LevelName, Tensor]:
        """Normalised images (N, 3, 84, 84) to {"mid": (N, 64, 10, 10), "high": (N, 64, 5, 5)}."""
        x = self.blocks[1](self.blocks[0](images))
        mid = self.blocks[2](x)
        return {"mid": mid, "high": self.blocks[3](mid)}
