"""ResNet-12, the wide residual backbone of few-shot learning (Lee et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.backbones.base import Backbone, BackboneSpec
from hmdrn_network.backbones.conv4 import pooled_side
from hmdrn_network.backbones.dropblock import DropBlock

WIDTHS = (64, 160, 320, 640)


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


class ResidualBlock(nn.Module):
    """Three conv3x3 - BatchNorm with LeakyReLU(0.1), a projected shortcut, maxpool 2, DropBlock.

    The shortcut (1x1 conv - BatchNorm) is added before the last activation.
    """

    def __init__(self, in_channels: int, out_channels: int, drop_rate: float) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv3x3(in_channels, out_channels), nn.BatchNorm2d(out_channels)
        self.conv2, self.norm2 = _conv3x3(out_channels, out_channels), nn.BatchNorm2d(out_channels)
        self.conv3, self.norm3 = _conv3x3(out_channels, out_channels), nn.BatchNorm2d(out_channels)
        self.shortcut_conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.shortcut_norm = nn.BatchNorm2d(out_channels)
        self.drop = DropBlock(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H // 2, W // 2)."""
        y = F.leaky_relu(self.norm1(self.conv1(x)), 0.1)
        y = F.leaky_relu(self.norm2(self.conv2(y)), 0.1)
        y = self.norm3(self.conv3(y)) + self.shortcut_norm(self.shortcut_conv(x))
        out: Tensor = self.drop(F.max_pool2d(F.leaky_relu(y, 0.1), 2))
        return out


class ResNet12(Backbone):
    """Four residual blocks of 64, 160, 320 and 640 channels; the maps of the last two are the levels.

    Args:
        drop_rate: DropBlock's rate in the last two blocks while training.
    """

    level_stages = {"mid": 2, "high": 3}  # noqa: RUF012 (never changed)

    def __init__(self, drop_rate: float = 0.1) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        rates = (0.0, 0.0, drop_rate, drop_rate)
        self.blocks = nn.ModuleList(map(ResidualBlock, inputs, WIDTHS, rates))

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The four blocks."""
        return list(self.blocks)


RESNET12 = BackboneSpec(
    name="resnet12",
    build=lambda side: ResNet12(),
    default_side=84,
    channels={"high": WIDTHS[3], "mid": WIDTHS[2]},
    map_side=pooled_side,
)
