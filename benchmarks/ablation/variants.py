"""HMDRN without one of its parts, and the baselines FRN and ProtoNet on the same backbone.

All have the learned weights and scale of `Fusion`, initialized as in HMDRN: at 10 times the mean squared
difference of an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN


class NoMask(HMDRN):
    """HMDRN whose query photos pass through the transformers as support photos do."""

    def transform(self, maps: Mapping[LevelName, Tensor], masked: bool) -> dict[LevelName, Tensor]:
        """As `HMDRN.transform`, never masked."""
        return super().transform(maps, masked=False)


class RawTokens(HMDRN):
    """Ridge heads on the backbone's unchanged maps; with the high level alone it is FRN.

    FRN's code starts alpha at 0. Here it starts at 5 as in every ridge head, which favors these variants:
    from 0, FRN on Conv-4 was 8 points behind after 250 episodes.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.transformers = nn.ModuleDict()

    def transform(self, maps: Mapping[LevelName, Tensor], masked: bool) -> dict[LevelName, Tensor]:
        """As `HMDRN.transform`; a token is a location of the map."""
        return {name: maps[name].flatten(2).transpose(1, 2) for name in self.config.levels}


class ProtoNet(HMDRN):
    """Squared Euclidean distance to the class mean (Snell et al., NeurIPS 2017); a photo is one token."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.transformers, self.heads = nn.ModuleDict(), nn.ModuleDict()
        self.fusion.divisor //= config.level_specs[0].tokens  # a photo has one token

    def transform(self, maps: Mapping[LevelName, Tensor], masked: bool) -> dict[LevelName, Tensor]:
        """Mean-pool the maps to {level: (N, 1, d)}."""
        return {name: maps[name].mean(dim=(2, 3))[:, None] for name in self.config.levels}

    def distances(
        self,
        query: Mapping[LevelName, Tensor],
        support: Mapping[LevelName, Tensor],
        valid: Mapping[LevelName, Tensor] | None = None,
    ) -> dict[LevelName, Tensor]:
        """As `HMDRN.distances`, to the mean of a class's photos."""
        distances: dict[LevelName, Tensor] = {}
        for name, tokens in support.items():
            real = tokens.new_ones(tokens.shape[:2]) if valid is None else valid[name].to(tokens.dtype)
            means = (tokens * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)
            distances[name] = (query[name] - means).square().sum(dim=-1)
        return distances


def _at(level: LevelName) -> Callable[[NetworkConfig], NetworkConfig]:
    """Return a function that reduces a configuration to one level."""

    def reduce(config: NetworkConfig) -> NetworkConfig:
        projection = {name: width for name, width in (config.projection or {}).items() if name == level}
        return replace(config, levels=(level,), projection=projection)

    return reduce


_HIGH, _MID = _at("high"), _at("mid")


@dataclass(frozen=True)
class Variant:
    """One network of the comparison.

    Attributes:
        description: Description in a few words.
        build: Builds it, untrained, from the configuration of the full network.
    """

    description: str
    build: Callable[[NetworkConfig], HMDRN]


FULL = "full"
VARIANTS: dict[str, Variant] = {
    FULL: Variant("HMDRN: both levels, mask, transformers, ridge", HMDRN),
    "high": Variant("the high level alone", lambda full: HMDRN(_HIGH(full))),
    "mid": Variant("the mid level alone", lambda full: HMDRN(_MID(full))),
    "no-mask": Variant("no mask on query photos", NoMask),
    "one-layer": Variant(
        "one layer in each transformer", lambda full: HMDRN(replace(full, transformer_layers=1))
    ),
    "no-transformer": Variant(
        "no transformers: the backbone's maps into the ridge heads of both levels", RawTokens
    ),
    "attention": Variant(
        "attention heads instead of ridge", lambda full: HMDRN(replace(full, head="attention"))
    ),
    "frn": Variant("FRN (Wertheimer et al., CVPR 2021)", lambda full: RawTokens(_HIGH(full))),
    "protonet": Variant(
        "ProtoNet (Snell et al., NeurIPS 2017), mean-pooled high level", lambda full: ProtoNet(_HIGH(full))
    ),
}
