"""What makes up an HMDRN: the choices that its weights depend on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from hmdrn_runtime.bundle.manifest import Level
from hmdrn_runtime.errors import CheckpointError

BackboneName = Literal["conv4", "resnet12"]
HeadName = Literal["ridge", "attention"]
LevelName = Literal["high", "mid"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


BACKBONE_LEVELS: dict[BackboneName, dict[LevelName, Level]] = {
    "conv4": {"high": Level("high", 64, 25), "mid": Level("mid", 64, 100)},
    "resnet12": {"high": Level("high", 640, 25), "mid": Level("mid", 320, 100)},
}


@dataclass(frozen=True)
class NetworkConfig:
    """The configuration of an HMDRN, kept beside its weights.

    Attributes:
        backbone: "conv4" (64 channels) or "resnet12" (640 and 320 channels).
        head: "ridge" (closed-form reconstruction, FRN) or "attention" (the authors' released weights).
        levels: The levels that are fused, "high" before "mid"; one alone serves ablations.

    Raises:
        CheckpointError: A name that is none of these.
    """

    backbone: BackboneName = "conv4"
    head: HeadName = "ridge"
    levels: tuple[LevelName, ...] = ("high", "mid")

    def __post_init__(self) -> None:
        if self.backbone not in get_args(BackboneName):
            raise CheckpointError(
                f"unknown backbone {self.backbone!r}: choose one of {', '.join(get_args(BackboneName))}"
            )
        if self.head not in get_args(HeadName):
            raise CheckpointError(
                f"unknown head {self.head!r}: choose one of {', '.join(get_args(HeadName))}"
            )
        if self.levels not in (("high", "mid"), ("high",), ("mid",)):
            raise CheckpointError(f"levels {self.levels!r} are none of ('high', 'mid'), ('high',), ('mid',)")

    @property
    def side(self) -> int:
        """Side of the input in pixels."""
        return 84

    @property
    def level_specs(self) -> tuple[Level, ...]:
        """The levels in use with their widths, in the order of `levels`."""
        return tuple(BACKBONE_LEVELS[self.backbone][name] for name in self.levels)

    def keeps_tokens(self) -> bool:
        """Whether a photo's tokens are fewer numbers than its packed Gram matrices (wide backbones)."""
        return sum(s.tokens * s.channels for s in self.level_specs) < sum(s.packed for s in self.level_specs)

    @property
    def logit_divisor(self) -> int:
        """25 * channels of the high level: distances are brought to a mean over its entries."""
        high = BACKBONE_LEVELS[self.backbone]["high"]
        return high.tokens * high.channels

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary, the inverse of `from_dict`."""
        return {**asdict(self), "levels": list(self.levels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Build from `to_dict`'s result.

        Raises:
            CheckpointError: Missing or unknown entries, or values that are no choice of ours.
        """
        expected = {"backbone", "head", "levels"}
        if set(values) != expected:
            raise CheckpointError(
                f"network configuration has entries {sorted(values)}, expected {sorted(expected)}"
            )
        return cls(values["backbone"], values["head"], tuple(values["levels"]))
