"""The interface of every backbone: stages run in order, some of whose maps are the network's levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

LevelName = Literal["high", "mid"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

SIDE_STEP = 16
MIN_SIDE, MAX_SIDE = 32, 512


class Backbone(nn.Module, ABC):
    """Stages that run one after the other.

    A prefix of the stages can be frozen and its maps cached: `forward` starts at any stage up to the mid
    level.
    """

    level_stages: Mapping[LevelName, int]
    """The stage whose output is the level's map."""

    @property
    @abstractmethod
    def stages(self) -> Sequence[nn.Module]:
        """The stages in order; their modules are the backbone's own."""

    def forward(self, x: Tensor, start: int = 0) -> dict[LevelName, Tensor]:
        """Run the stages from `start` on.

        Args:
            x: Normalized photos (N, 3, S, S), or the output of stage `start - 1`.
            start: First stage to run, at most one after the mid level's.

        Returns:
            Maps by level, (N, channels, side, side).
        """
        maps = {name: x for name, stage in self.level_stages.items() if stage == start - 1}
        taps = {stage: name for name, stage in self.level_stages.items()}
        for index in range(start, len(self.stages)):
            x = self.stages[index](x)
            if index in taps:
                maps[taps[index]] = x
        return maps

    def run_prefix(self, x: Tensor, stop: int) -> Tensor:
        """Run the stages before `stop` on normalized photos (N, 3, S, S)."""
        for stage in self.stages[:stop]:
            x = stage(x)
        return x


@dataclass(frozen=True)
class PretrainedPackage:
    """A Python package that holds pretrained weights.

    Attributes:
        module: Import name of the package.
        distribution: Name to install it by.
        file: Path of the weights in the package.
        sha256: Digest of that file.
        license: SPDX identifier of the weights' license.
        trained_on: Data that the weights were trained on.
    """

    module: str
    distribution: str
    file: str
    sha256: str
    license: str
    trained_on: str


@dataclass(frozen=True)
class BackboneSpec:
    """Facts of a backbone that hold before it is built.

    Attributes:
        name: Name in configurations and options.
        build: Makes the module, with random weights, for a side in pixels.
        default_side: Side of its input in pixels unless another is given.
        channels: Channels of its map by level.
        map_side: Side of its map by level for an input side in pixels.
        mean: Mean of each channel, RGB in 0-1, that its input is normalized by.
        std: Standard deviation of each channel, likewise.
        projection: Width that a level is projected to unless another is given; levels without an entry
            are not projected.
        pretrained: Package of ImageNet weights, if there is one.
        translate: Name of a weight of that package in this project, or None to leave it out.
    """

    name: str
    build: Callable[[int], Backbone]
    default_side: int
    channels: Mapping[LevelName, int]
    map_side: Callable[[LevelName, int], int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    projection: tuple[tuple[LevelName, int], ...] = ()
    pretrained: PretrainedPackage | None = None
    translate: Callable[[str], str | None] = lambda name: name

    def side_problem(self, side: int) -> str | None:
        """Say why `side` cannot be the input's, or return None if it can."""
        if side == self.default_side:
            return None
        if side % SIDE_STEP or not MIN_SIDE <= side <= MAX_SIDE:
            return (
                f"side {side} does not fit {self.name}: give {self.default_side}, or a multiple of "
                f"{SIDE_STEP} from {MIN_SIDE} to {MAX_SIDE}"
            )
        return None
