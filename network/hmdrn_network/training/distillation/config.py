"""Settings of a distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hmdrn_network.training.config import TrainingConfig
from hmdrn_runtime.errors import TrainingError


@dataclass(frozen=True)
class DistillationConfig(TrainingConfig):
    """Settings of a distillation, beside those of every training.

    Rates are AdamW's: `pretrain_learning_rate` and `learning_rate` are those of new layers in the two
    phases; pretrained stages take `backbone_rate` times as much, earlier ones less.

    Attributes:
        frozen_stages: Stages of the backbone that keep their pretrained weights and whose maps are cached.
        episode_frozen_stages: Stages that stay as they are in the second phase, at least `frozen_stages`;
            a step of the later ones alone takes less time.
        backbone_rate: Rate of the last pretrained stage by that of new layers, in the first phase.
        episode_backbone_rate: The same in the second phase.
        stage_decay: Rate of a stage by that of the next one.
        smoothing: Share of the target that label smoothing spreads over all classes.
        mid_weight: Weight of the classification from the mid level.
        teacher_weight: Weight of the distance (1 - cosine) between predicted and real teacher features.
        relation_weight: Weight of the squared difference between similarities of photos in tokens and in
            the teacher's features.
        class_weight: Weight of the classification beside the episodes.
        episode_teacher_weight: Weight of both teacher losses beside the episodes, by their weight before.
        episode_weight: Weight of the true classes of an episode.
        guide_weight: Weight of the distance to a guide's answers, where there is a guide.
        guide_map_weight: Weight of the distance to a guide's maps, relative to their size.
        hard_share: Share of the episodes whose classes are neighbors in the teacher's features.
        averaging: Decay of the moving average of the weights; the average is the result.
        class_power: Groups are drawn for episodes by their number of classes to this power.
        group_weights: Factor of a group's share in both phases; 1 where it is not given.
        episode_weights: The same for episodes alone, in place of `group_weights` where it is given.
        flip: True to mirror cached maps half of the time.

    Raises:
        TrainingError: A value is out of its range.
    """

    pretrain_steps: int = 1200
    pretrain_batch: int = 128
    pretrain_learning_rate: float = 3e-3
    episodes: int = 1500
    way: int = 20
    max_shot: int = 5
    queries: int = 4
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.05
    warmup: int = 60
    amp: bool = False
    validate_every: int = 250
    frozen_stages: int = 6
    episode_frozen_stages: int = 12
    backbone_rate: float = 0.2
    episode_backbone_rate: float = 0.12
    stage_decay: float = 0.9
    smoothing: float = 0.1
    mid_weight: float = 0.5
    teacher_weight: float = 4.0
    relation_weight: float = 4.0
    class_weight: float = 0.3
    episode_teacher_weight: float = 0.5
    episode_weight: float = 1.0
    guide_weight: float = 1.0
    guide_map_weight: float = 0.5
    hard_share: float = 0.4
    averaging: float = 0.995
    class_power: float = 0.7
    group_weights: Mapping[str, float] = field(default_factory=dict)
    episode_weights: Mapping[str, float] = field(default_factory=dict)
    flip: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("smoothing", "hard_share", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}: it must be at least 0 and below 1")
        losses = ("teacher_weight", "episode_teacher_weight", "relation_weight")
        guide = ("episode_weight", "guide_weight", "guide_map_weight")
        weights = ("mid_weight", "class_weight", *losses, *guide)
        for name in (*weights, "frozen_stages", "episode_backbone_rate", "stage_decay"):
            if getattr(self, name) < 0:
                raise TrainingError(f"{name} is {getattr(self, name)}: it must be 0 or more")
        if self.episode_frozen_stages < self.frozen_stages:
            raise TrainingError(
                f"episode_frozen_stages is {self.episode_frozen_stages}: it must be at least "
                f"{self.frozen_stages}, the stages that are frozen from the start"
            )
        for group, weight in (*self.group_weights.items(), *self.episode_weights.items()):
            if not 0 <= weight < float("inf"):
                raise TrainingError(
                    f"the weight of group {group} is {weight}: it must be finite and not negative"
                )
