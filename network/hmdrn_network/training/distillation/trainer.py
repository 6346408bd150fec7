"""Distillation: classification and episodes on cached maps, guided by teachers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.base_trainer import BaseTrainer, measure_accuracy, parameter_groups
from hmdrn_network.training.distillation.config import DistillationConfig
from hmdrn_network.training.distillation.guide import Guide
from hmdrn_network.training.distillation.sampling import CachedBatch, CachedEpisode, Sampler
from hmdrn_network.training.workers import Workers


class AuxiliaryHeads(nn.Module):
    """Layers that serve training alone: classifiers by level, and a prediction for every teacher.

    Args:
        network: The student.
        classes: Number of classes.
        teachers: Width of the features by teacher.
    """

    def __init__(self, network: HMDRN, classes: int, teachers: dict[str, int]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleDict(
            {level.name: nn.Linear(level.channels, classes) for level in network.config.level_specs}
        )
        channels = network.config.spec.channels["high"]
        # A module's name has no dots.
        self.teachers = nn.ModuleDict(
            {teacher.replace(".", "_"): nn.Linear(channels, width) for teacher, width in teachers.items()}
        )

    def predict(self, teacher: str, pooled: Tensor) -> Tensor:
        """Predict the features (N, F) of a teacher from the pooled high map (N, channels)."""
        features: Tensor = self.teachers[teacher.replace(".", "_")](pooled)
        return features


class DistillationTrainer(BaseTrainer):
    """Trains the stages behind the cached ones, on the CPU.

    `network`, the result, is the moving average of the weights of `student`, which the steps change.

    Args:
        network: The student, with pretrained weights, on the CPU.
        sampler: Draws from the cached groups.
        config: Settings; batch and episode are those of one process.
        workers: This process among others that train the same network.
        guide: Network whose answers to the episodes the student learns, from its summaries in the cached
            groups; None for none.
    """

    config: DistillationConfig

    def __init__(
        self,
        network: HMDRN,
        sampler: Sampler,
        config: DistillationConfig,
        workers: Workers = Workers(),  # noqa: B008 (immutable)
        guide: Guide | None = None,
    ) -> None:
        super().__init__(network, config, workers)
        self.sampler = sampler
        self.guide = guide
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            widths = {teacher: len(center) for teacher, center in sampler.centers.items()}
            self.heads = AuxiliaryHeads(network, sampler.class_count, widths)
        for stage in network.backbone.stages[: config.frozen_stages]:
            stage.requires_grad_(False)
        self.network = copy.deepcopy(network)
        buffers = [*network.backbone.buffers(), *network.projections.buffers()]
        self._statistics = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.optimizer = self._build_optimizer()

    def _modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.student, "average": self.network, "heads": self.heads}

    def _begin_episodes(self) -> None:
        # The average is better than the last step; its statistics belong to it.
        self.student.load_state_dict(self.network.state_dict())
        super()._begin_episodes()

    @property
    def _frozen(self) -> int:
        """Stages that stay as they are in the present phase."""
        return self.config.frozen_stages if self.pretraining else self.config.episode_frozen_stages

    def _build_optimizer(self) -> torch.optim.Optimizer:
        config, backbone = self.config, self.student.backbone
        last = config.backbone_rate if self.pretraining else config.episode_backbone_rate
        groups: list[dict[str, Any]] = []
        for index, stage in list(enumerate(backbone.stages))[self._frozen :]:
            factor = last * config.stage_decay ** (len(backbone.stages) - 1 - index)
            groups += parameter_groups(list(stage.parameters()), factor, config.weight_decay)
        in_backbone = {id(p) for p in backbone.parameters()}
        new = [p for p in [*self.student.parameters(), *self.heads.parameters()] if id(p) not in in_backbone]
        groups += parameter_groups(new, 1.0, config.weight_decay)
        return torch.optim.AdamW(groups, lr=0.0)

    def _compute_loss(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        self._set_mode()
        return self._classify(rng) if self.pretraining else self._compare_episode(rng)

    def _finish_step(self) -> None:
        super()._finish_step()
        # Each process has batch statistics of its own; the state that is saved is that of the first.
        self.workers.share(self._statistics)
        self._update_average()

    def _set_mode(self) -> None:
        self.student.train()
        for stage in self.student.backbone.stages[: self.config.frozen_stages]:
            stage.eval()
        if not self.pretraining:
            # An episode is of one group: its statistics are not those of all.
            for module in self.student.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    @torch.no_grad()
    def _update_average(self) -> None:
        # The average of the first steps would be of random layers.
        decay = min(self.config.averaging, self.step / (self.step + 10))
        target = self.network.state_dict()
        for name, value in self.student.state_dict().items():
            if value.is_floating_point():
                target[name].lerp_(value, 1 - decay)
            else:
                target[name].copy_(value)

    def _compute_maps(self, batch: CachedBatch) -> tuple[dict[LevelName, Tensor], Tensor]:
        """Return the projected maps by level and the pooled high map of the backbone (N, channels)."""
        maps = batch.maps.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            for stage in self.student.backbone.stages[self.config.frozen_stages : self._frozen]:
                maps = stage(maps)
        raw = self.student.backbone(maps, self._frozen)
        return self.student.project(raw), raw["high"].mean(dim=(2, 3))

    def _classification_loss(self, maps: dict[LevelName, Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss over both levels and the logits of the first one."""
        config = self.config
        total, first = maps[self.student.config.levels[0]].new_zeros(()), None
        for name, level in maps.items():
            logits = self.heads.classifiers[name](level.mean(dim=(2, 3)))
            weight = config.mid_weight if name == "mid" and len(maps) > 1 else 1.0
            total = total + weight * F.cross_entropy(logits, targets, label_smoothing=config.smoothing)
            first = logits if first is None else first
        assert first is not None
        return total, first

    def _teacher_loss(self, batch: CachedBatch, pooled: Tensor, tokens: Tensor) -> Tensor:
        """Return the teachers' losses, each weighted by its share of the photos."""
        config = self.config
        total = pooled.new_zeros(())
        for teacher, features in batch.features.items():
            rows = batch.rows[teacher]
            share = len(rows) / len(pooled)
            distance = feature_distance(self.heads.predict(teacher, pooled[rows]), features)
            total = total + share * config.teacher_weight * distance
            if len(rows) > 1:
                relation = relation_distance(tokens[rows], features)
                total = total + share * config.relation_weight * relation
        return total

    def _classify(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Return loss and accuracy of photos drawn from all classes of all groups."""
        batch = self.sampler.draw_batch(rng)
        maps, pooled = self._compute_maps(batch)
        loss, logits = self._classification_loss(maps, batch.targets)
        first = maps[self.student.config.levels[0]].mean(dim=(2, 3))
        return loss + self._teacher_loss(batch, pooled, first), measure_accuracy(logits, batch.targets)

    def _compare_episode(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Return loss and accuracy of an episode; classification and teachers preserve what was learned."""
        config = self.config
        episode = self.sampler.draw_episode(rng)
        maps, pooled = self._compute_maps(episode.batch)
        logits, _ = self.student.compare_episode(maps, episode.way, episode.shot)
        loss = config.episode_weight * F.cross_entropy(logits, episode.targets)
        if self.guide is not None:
            loss = loss + self._guide_loss(self.guide, episode, maps, logits)
        if config.class_weight:
            loss = loss + config.class_weight * self._classification_loss(maps, episode.batch.targets)[0]
        if config.episode_teacher_weight:
            first = maps[self.student.config.levels[0]].mean(dim=(2, 3))
            loss = loss + config.episode_teacher_weight * self._teacher_loss(episode.batch, pooled, first)
        return loss, measure_accuracy(logits, episode.targets)

    def _guide_loss(
        self, guide: Guide, episode: CachedEpisode, maps: dict[LevelName, Tensor], logits: Tensor
    ) -> Tensor:
        """Return the distance of answers and maps from those of the guide."""
        config, batch = self.config, episode.batch
        assert batch.guidance is not None
        answers = guide.answer(batch.guidance, episode.way, episode.shot)
        total = config.guide_weight * answer_distance(logits, answers)
        for name, theirs in guide.read_maps(batch.guidance, batch.mirrored).items():
            distance = (maps[name] - theirs).square().mean() / theirs.square().mean()
            total = total + config.guide_map_weight * distance
        return total


def answer_distance(logits: Tensor, answers: Tensor) -> Tensor:
    """Return the mean Kullback-Leibler divergence of the student's probabilities from the guide's.

    Args:
        logits: The student's, (N, C).
        answers: The guide's, (N, C).
    """
    ours, theirs = F.log_softmax(logits, dim=1), F.log_softmax(answers, dim=1)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def feature_distance(predicted: Tensor, features: Tensor) -> Tensor:
    """Return the mean of 1 - cosine between predicted and real teacher features, both (N, F)."""
    return (1 - F.cosine_similarity(predicted, features, dim=1)).mean()


def relation_distance(student: Tensor, features: Tensor) -> Tensor:
    """Return the mean squared difference of the photos' similarities in both spaces.

    Relational distillation (Park et al., CVPR 2019) of cosines: the student's space may have any width.

    Args:
        student: The student's features (N, d), N at least 2.
        features: The teacher's centered features (N, F).

    Returns:
        A scalar, 0 to 4, over pairs of different photos.
    """
    ours = F.normalize(student - student.mean(dim=0), dim=1)
    theirs = F.normalize(features, dim=1)
    different = ~torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    return (ours @ ours.T - theirs @ theirs.T)[different].square().mean()
