"""HMDRN: two levels of masked self-reconstruction and class reconstruction, fused (arXiv 2506.20263)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hmdrn_network.backbones.base import Backbone, BackboneSpec, LevelName
from hmdrn_network.config import NetworkConfig
from hmdrn_network.heads.attention import AttentionHead
from hmdrn_network.heads.ridge import RidgeHead
from hmdrn_network.transformer import MaskedTransformer
from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.errors import CheckpointError


def _by_channel(values: Sequence[float]) -> Tensor:
    """Return values (channels, 1, 1), or the one value (1, 1, 1) that all channels share.

    ONNX Runtime's INT8 graphs keep channels last, where values by channel take twenty times as long.
    """
    return torch.tensor(values[:1] if len(set(values)) == 1 else values)[:, None, None]


def normalize(images: Tensor, spec: BackboneSpec) -> Tensor:
    """Bring photos to the backbone's input.

    Args:
        images: RGB, uint8 or float32 in 0-255, (N, S, S, 3).
        spec: The backbone, with its mean and standard deviation.

    Returns:
        float32 (N, 3, S, S), scaled to [0, 1], then normalized by mean and standard deviation.
    """
    mean, std = (_by_channel(values).to(images.device) for values in (spec.mean, spec.std))
    # One product and one sum by channel take a tenth of the time of three operations by pixel on a CPU. The
    # conversion to float comes first, because NVIDIA's compiler supports no other operation on bytes.
    return images.float().permute(0, 3, 1, 2) * (1 / (255 * std)) - mean / std


class Projection(nn.Sequential):
    """1x1 convolution - BatchNorm, from a level's channels to the width of its tokens."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(in_channels, out_channels, 1, bias=False))
        self.add_module("norm", nn.BatchNorm2d(out_channels))


class Fusion(nn.Module):
    """Weighted sum of both levels' distances: -(w_high D_high + w_mid D_mid) * scale / entries_high.

    Attributes:
        divisor: Entries of the high level's tokens.
        scale: Learned scale of the logits.
        weight: Learned weight of each level in use.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.divisor: int = config.logit_divisor
        self.scale: nn.Parameter = nn.Parameter(torch.tensor(10.0))
        # Both levels start with one weight per entry of their tokens.
        self.weight: nn.ParameterDict = nn.ParameterDict(
            {
                level.name: nn.Parameter(torch.tensor(self.divisor / (level.tokens * level.channels)))
                for level in config.level_specs
            }
        )

    def forward(self, distances: Mapping[LevelName, Tensor]) -> Tensor:
        """Return logits (B, C) of distances by level, each (B, C)."""
        total = sum(self.weight[name] * distance for name, distance in distances.items())
        return -cast(Tensor, total) * self.scale / self.divisor


class HMDRN(nn.Module):
    """The Hierarchical Mask-enhanced Dual Reconstruction Network.

    Args:
        config: Backbone, head, levels, side and projection.

    Attributes:
        config: The configuration.
        backbone: Maps of both levels from photos.
        projections: Projections of the maps, by projected level.
        transformers: Masked transformers by level in use.
        heads: Reconstruction heads by level in use.
        fusion: Fusion of the levels' distances.

    Examples:
        >>> network = hmdrn.HMDRN(hmdrn.NetworkConfig(backbone="conv4"))
        >>> sum(weight.numel() for weight in network.parameters()) > 100_000
        True
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        check_kind(config, NetworkConfig, "config", "pass a hmdrn.NetworkConfig", CheckpointError)
        self.config: NetworkConfig = config
        self.backbone: Backbone = config.spec.build(config.side)
        channels, widths, levels = config.spec.channels, config.projection or {}, config.level_specs
        self.projections: nn.ModuleDict = nn.ModuleDict(
            {name: Projection(channels[name], width) for name, width in widths.items()}
        )
        self.transformers: nn.ModuleDict = nn.ModuleDict(
            {
                level.name: MaskedTransformer(level.tokens, level.channels, config.transformer_layers)
                for level in levels
            }
        )
        head = RidgeHead if config.head == "ridge" else AttentionHead
        self.heads: nn.ModuleDict = nn.ModuleDict({level.name: head(level.channels) for level in levels})
        self.fusion: Fusion = Fusion(config)

    def features(self, images: Tensor) -> dict[LevelName, Tensor]:
        """Return maps {level: (N, d, side, side)} of photos (N, S, S, 3), uint8 or float32 in 0-255."""
        return self.project(self.backbone(normalize(images, self.config.spec)))

    def project(self, maps: Mapping[LevelName, Tensor]) -> dict[LevelName, Tensor]:
        """Bring the backbone's maps to the width of the tokens, for the levels in use."""
        return {
            name: self.projections[name](maps[name]) if name in self.projections else maps[name]
            for name in self.config.levels
        }

    def transform(self, maps: Mapping[LevelName, Tensor], masked: bool) -> dict[LevelName, Tensor]:
        """Return tokens {level: (N, T, d)} of maps; `masked` for query photos, never for support photos."""
        return {name: self.transformers[name](maps[name], masked) for name in self.config.levels}

    def encode(self, images: Tensor, masked: bool) -> dict[LevelName, Tensor]:
        """Return tokens {level: (N, T, d)} of uint8 photos (N, S, S, 3)."""
        return self.transform(self.features(images), masked)

    def distances(
        self,
        query: Mapping[LevelName, Tensor],
        support: Mapping[LevelName, Tensor],
        valid: Mapping[LevelName, Tensor] | None = None,
    ) -> dict[LevelName, Tensor]:
        """Return the reconstruction distances by level.

        Args:
            query: Query tokens {level: (B, T, d)}.
            support: Support tokens by class {level: (C, n, d)}, n = shots x locations.
            valid: True for real support tokens {level: bool (C, n)}; all are real if None.

        Returns:
            D {level: (B, C)}.
        """
        return {
            name: self.heads[name](query[name], support[name], None if valid is None else valid[name])
            for name in self.config.levels
        }

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        """Return the logits of an episode.

        Args:
            support: uint8 photos by class, (C, shots, S, S, 3).
            query: uint8 photos, (B, S, S, 3).

        Returns:
            Logits (B, C).
        """
        way, shots = support.shape[:2]
        # One pass of the backbone: while training, both kinds share the batch's statistics.
        maps = self.features(torch.cat([support.flatten(0, 1), query]))
        return self.compare_episode(maps, way, shots)[0]

    def compare_episode(
        self, maps: Mapping[LevelName, Tensor], way: int, shots: int
    ) -> tuple[Tensor, dict[LevelName, Tensor]]:
        """Compare the query photos of an episode with its classes.

        Args:
            maps: Projected maps by level: the support photos, class by class, then the query photos.
            way: Number of classes C.
            shots: Support photos of a class.

        Returns:
            Logits (B, C), and the support tokens by class {level: (C, shots * T, d)}.
        """
        count = way * shots
        classes = self.class_tokens({name: m[:count] for name, m in maps.items()}, way)
        return self.compare({name: m[count:] for name, m in maps.items()}, classes), classes

    def class_tokens(self, maps: Mapping[LevelName, Tensor], way: int) -> dict[LevelName, Tensor]:
        """Return support tokens {level: (C, shots * T, d)} from maps of support photos, class by class."""
        tokens = self.transform(maps, masked=False)
        return {name: t.reshape(way, -1, t.shape[-1]) for name, t in tokens.items()}

    def compare(self, maps: Mapping[LevelName, Tensor], classes: Mapping[LevelName, Tensor]) -> Tensor:
        """Return logits (B, C) from the maps of query photos and `class_tokens`."""
        logits: Tensor = self.fusion(self.distances(self.transform(maps, masked=True), classes))
        return logits

    def scalars(self) -> dict[str, float]:
        """Return the learned scalars of fusion and heads by name, for the display of a training.

        Of a ridge head: `lambda/n`, the regularization for each support token, and `rho`, the rescaling.
        """
        values = {f"weight {name}": weight.item() for name, weight in self.fusion.weight.items()}
        values["scale"] = self.fusion.scale.item()
        for name, head in self.heads.items():
            if isinstance(head, RidgeHead):
                values[f"lambda/n {name}"] = head.alpha.exp().item() / head.channels
                values[f"rho {name}"] = head.beta.exp().item()
        return values
