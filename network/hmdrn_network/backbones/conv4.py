"""Conv-4, the four-block backbone of few-shot learning (Vinyals et al., NeurIPS 2016)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hmdrn_network.backbones.base import Backbone, BackboneSpec, LevelName


class ConvBlock(nn.Sequential):
    """conv3x3 - BatchNorm - ReLU - maxpool 2: (N, C, H, W) to (N, 64, H // 2, W // 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.add_module("norm", nn.BatchNorm2d(out_channels))
        self.add_module("relu", nn.ReLU())
        self.add_module("pool", nn.MaxPool2d(2))


class Conv4(Backbone):
    """Four blocks of 64 channels; the maps of the last two are the levels."""

    level_stages = {"mid": 2, "high": 3}  # noqa: RUF012 (never changed)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvBlock(3 if i == 0 else 64, 64) for i in range(4))

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The four blocks."""
        return list(self.blocks)


def pooled_side(level: LevelName, side: int) -> int:
    """Side of a map after three (mid) or four (high) halvings that round down."""
    return side // (8 if level == "mid" else 16)


CONV4 = BackboneSpec(
    name="conv4",
    build=lambda side: Conv4(),
    default_side=84,
    channels={"high": 64, "mid": 64},
    map_side=pooled_side,
)
