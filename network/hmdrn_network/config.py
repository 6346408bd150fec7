"""The configuration of an HMDRN: the choices that its weights depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from hmdrn_network.backbones.base import BackboneSpec, LevelName
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_runtime.arguments import check_count, check_kind
from hmdrn_runtime.bundle.manifest import Level
from hmdrn_runtime.errors import CheckpointError

HeadName = Literal["ridge", "attention"]

PAPER_LAYERS = 3
"""Layers of each masked transformer in the paper."""


@dataclass(frozen=True)
class NetworkConfig:
    """The configuration of an HMDRN, stored beside its weights.

    Attributes:
        backbone: Name of a backbone, a key of `backbones.BACKBONES`.
        head: "ridge" (closed-form reconstruction, FRN) or "attention" (the authors' released weights).
        levels: The levels that are fused, "high" before "mid"; one alone serves ablations.
        side: Side of the input in pixels; 0 stands for the backbone's default.
        projection: Width of the tokens by level, for levels that a 1x1 convolution brings to another
            width than the backbone's map; None stands for the backbone's default, {} for none.
        transformer_layers: Layers of each level's masked transformer; the paper's networks have three.

    Raises:
        CheckpointError: An unknown name, a side that the backbone cannot take, a projection that is wider
            than its level or of a level that is not in use, or no transformer layer.

    Examples:
        >>> hmdrn.NetworkConfig(backbone="resnet12", head="ridge").levels
        ('high', 'mid')
    """

    backbone: str = "conv4"
    head: HeadName = "ridge"
    levels: tuple[LevelName, ...] = ("high", "mid")
    side: int = 0
    projection: Mapping[LevelName, int] | None = field(default=None, hash=False)
    transformer_layers: int = PAPER_LAYERS

    def __post_init__(self) -> None:
        for name in ("backbone", "head"):
            check_kind(getattr(self, name), str, name, "give its name, a text", CheckpointError)
        check_kind(self.levels, tuple, "levels", "give a tuple of names", CheckpointError)
        check_count(self.side, "side", "give pixels, or 0 for the backbone's own", CheckpointError, 0)
        check_count(self.transformer_layers, "transformer_layers", "give 1 or more", CheckpointError)
        if self.projection is not None:
            check_kind(self.projection, Mapping, "projection", "give widths by level", CheckpointError)
        if self.backbone not in BACKBONES:
            raise CheckpointError(f"unknown backbone {self.backbone!r}: choose one of {', '.join(BACKBONES)}")
        if self.head not in get_args(HeadName):
            raise CheckpointError(
                f"unknown head {self.head!r}: choose one of {', '.join(get_args(HeadName))}"
            )
        if self.levels not in (("high", "mid"), ("high",), ("mid",)):
            raise CheckpointError(f"levels {self.levels!r} are none of ('high', 'mid'), ('high',), ('mid',)")
        # Defaults are resolved here, so that equal networks have equal configurations.
        if self.side == 0:
            object.__setattr__(self, "side", self.spec.default_side)
        if problem := self.spec.side_problem(self.side):
            raise CheckpointError(problem)
        projection = dict(self.spec.projection) if self.projection is None else dict(self.projection)
        if self.projection is None:
            projection = {level: width for level, width in projection.items() if level in self.levels}
        object.__setattr__(self, "projection", projection)
        for level, width in projection.items():
            self._check_projection(level, width)

    def _check_projection(self, level: LevelName, width: int) -> None:
        if level not in self.levels:
            raise CheckpointError(
                f"a projection is given for level {level!r}, which is not among {', '.join(self.levels)}"
            )
        channels = self.spec.channels[level]
        if not 2 <= width <= channels or width % 2:
            raise CheckpointError(
                f"level {level} of {self.backbone} has {channels} channels and cannot be projected to "
                f"{width}: give an even width from 2 to {channels}"
            )

    @property
    def spec(self) -> BackboneSpec:
        """The facts of the backbone."""
        return BACKBONES[self.backbone]

    @property
    def level_specs(self) -> tuple[Level, ...]:
        """The levels in use with the width of their tokens, in the order of `levels`."""
        return tuple(self._level(name) for name in self.levels)

    def _level(self, name: LevelName) -> Level:
        assert self.projection is not None
        width = self.projection.get(name, self.spec.channels[name])
        return Level(name, width, self.spec.map_side(name, self.side) ** 2)

    def keeps_tokens(self) -> bool:
        """Return True if tokens are fewer numbers than packed Gram matrices, as for wide backbones."""
        return sum(s.tokens * s.channels for s in self.level_specs) < sum(s.packed for s in self.level_specs)

    @property
    def logit_divisor(self) -> int:
        """Entries of the high level's tokens: distances are brought to a mean over them."""
        high = self._level("high")
        return high.tokens * high.channels

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, the inverse of `from_dict`.

        The paper's number of transformer layers is left out, which preserves the fingerprint of networks
        from before it could be chosen.
        """
        values = {**asdict(self), "levels": list(self.levels), "projection": dict(self.projection or {})}
        if self.transformer_layers == PAPER_LAYERS:
            del values["transformer_layers"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Build from the result of `to_dict`; entries that are left out have their defaults.

        Raises:
            CheckpointError: Missing or unknown entries, or values that are not allowed.
        """
        required, optional = {"backbone", "head", "levels"}, {"side", "projection", "transformer_layers"}
        if not required <= set(values) <= required | optional:
            raise CheckpointError(
                f"network configuration has entries {sorted(values)}, expected {sorted(required)}, and "
                f"{sorted(optional)} if need be"
            )
        return cls(**{**values, "levels": tuple(values["levels"])})
