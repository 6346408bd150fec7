"""Settings of a training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hmdrn_runtime.arguments import check_count, check_number
from hmdrn_runtime.errors import TrainingError

MIN_VALIDATIONS = 5
"""Fewest validations of a run: with fewer, the best of them is often worse than what lay between."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training.

    Attributes:
        pretrain_steps: Steps of classification over all classes before the episodes.
        pretrain_batch: Photos in a step of classification.
        pretrain_learning_rate: Peak of the cosine schedule of classification.
        episodes: Steps of one episode each, after the classification.
        way: Classes in an episode; fewer where a group has fewer.
        max_shot: Most shots: every episode draws from 1 to this, so that one model serves all of them.
        queries: Query photos of a class in an episode; fewer where a class has fewer.
        learning_rate: Peak of the episodes' cosine schedule.
        backbone_rate: Factor of the backbone's learning rate; below 1 for a pretrained backbone.
        weight_decay: Decay of matrices and kernels; norms, biases and the heads' scalars do not decay.
        warmup: Steps over which the rate rises at the start of each phase.
        auxiliary: Weight of FRN's loss on overlapping support tokens of two classes; 0 for none.
        amp: True to run the backbone in bfloat16; transformer and heads stay float32.
        validate_every: Most episodes between two validations; a run has at least `MIN_VALIDATIONS`.
        patience: Validations without a gain after which training stops; 0 to train to the end.
        seed: Seed; all that is random depends on it, the step's number and the process's rank alone.

    Raises:
        TrainingError: A value is out of its range.

    Examples:
        >>> hmdrn.TrainingConfig(pretrain_steps=100, episodes=50).steps
        150
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
            check_count(getattr(self, name), name, "it must be 1 or more, a whole number", TrainingError)
        counts, factors = ("pretrain_steps", "episodes", "patience", "seed"), ("auxiliary", "weight_decay")
        for name in counts:
            check_count(getattr(self, name), name, "it must be 0 or more, a whole number", TrainingError, 0)
        for name in (*factors, "backbone_rate", "pretrain_learning_rate", "learning_rate"):
            advice = "it must be a finite number, 0 or more"
            check_number(getattr(self, name), name, advice, TrainingError, lambda n: 0 <= n < float("inf"))

    @property
    def validation_interval(self) -> int:
        """Episodes between two validations."""
        return min(self.validate_every, -(-self.episodes // MIN_VALIDATIONS))

    @property
    def steps(self) -> int:
        """Steps of the whole run, classification and episodes."""
        return self.pretrain_steps + self.episodes

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Describe the settings that differ from those of a saved run, e.g. "way 10 instead of 5"."""
        own = asdict(self)
        return [
            f"{name} {own.get(name)} instead of {other.get(name)}"
            for name in sorted(own.keys() | other.keys())
            if own.get(name) != other.get(name)
        ]
