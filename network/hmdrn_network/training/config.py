"""How a network is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hmdrn_runtime.errors import TrainingError


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Attributes:
        pretrain_steps: Steps of classification over all classes before the episodes.
        pretrain_batch: Photos in such a step.
        pretrain_learning_rate: Peak of their cosine schedule.
        episodes: Steps of one episode each.
        way: Classes in an episode; fewer where a group has fewer.
        max_shot: Shots are drawn from 1 to this for every episode, so that one model serves them all.
        queries: Query photos of a class in an episode, as far as the class has them.
        learning_rate: Peak of the episodes' cosine schedule.
        backbone_rate: Rate of the backbone by that of the rest; below 1 for a backbone that is pretrained.
        weight_decay: Of matrices and kernels; norms, biases and the heads' scalars are not decayed.
        warmup: Steps over which the rate rises at the start of each phase.
        auxiliary: Weight of the loss that keeps the support tokens of two classes apart (FRN); 0 for none.
        amp: Whether the backbone computes in bfloat16; transformer and heads stay float32.
        validate_every: Episodes between two validations.
        patience: Validations without a gain after which training stops; 0 to go on to the end.
        seed: Everything random depends on it, on the step's number and on the process's rank alone.

    Raises:
        TrainingError: A value out of its range.
    """

    pretrain_steps: int = 0
    pretrain_batch: int = 96
    pretrain_learning_rate: float = 0.1
    episodes: int = 3000
    way: int = 10
    max_shot: int = 5
    queries: int = 6
    learning_rate: float = 0.05
    backbone_rate: float = 1.0
    weight_decay: float = 5e-4
    warmup: int = 100
    auxiliary: float = 0.0
    amp: bool = True
    validate_every: int = 500
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("pretrain_batch", "way", "max_shot", "queries", "warmup", "validate_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}: it must be 1 or more")
        for name in (
            "pretrain_steps",
            "episodes",
            "patience",
            "seed",
            "auxiliary",
            "weight_decay",
            "backbone_rate",
        ):
            if getattr(self, name) < 0:
                raise TrainingError(f"{name} is {getattr(self, name)}: it must be 0 or more")
        for name in ("pretrain_learning_rate", "learning_rate"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise TrainingError(f"{name} is {getattr(self, name)}: it must be a finite number from 0 up")

    @property
    def steps(self) -> int:
        """Steps of the whole run, classification and episodes."""
        return self.pretrain_steps + self.episodes

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Settings that differ from those of a saved run, e.g. "way 10 instead of 5"."""
        own = asdict(self)
        return [
            f"{name} {own.get(name)} instead of {other.get(name)}"
            for name in sorted(own.keys() | other.keys())
            if own.get(name) != other.get(name)
        ]
