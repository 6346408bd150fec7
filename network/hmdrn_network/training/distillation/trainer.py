"""The steps of a distillation, and the state that they change."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.distillation.config import DistillationConfig
from hmdrn_network.training.distillation.losses import feature_distance, relation_distance
from hmdrn_network.training.distillation.sampling import CachedBatch, Sampler
from hmdrn_network.training.trainer import Progress
from hmdrn_network.training.workers import Workers
from hmdrn_runtime.errors import TrainingError


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


class DistillationTrainer:
    """Trains the stages behind the cached ones; its state can be saved and restored between two steps.

    Attributes:
        network: The moving average of the student's weights: the result.
        student: The network that the steps change.

    Args:
        network: The student, with pretrained weights, on the CPU.
        sampler: Draws from the cached groups.
        config: Settings; batch and episode are those of one process.
        workers: This process among others that train the same network.
    """

    def __init__(
        self,
        network: HMDRN,
        sampler: Sampler,
        config: DistillationConfig,
        workers: Workers = Workers(),  # noqa: B008 (immutable)
    ) -> None:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student, self.sampler, self.config = network, sampler, config
        self.workers, self.device = workers, torch.device("cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            widths = {teacher: len(center) for teacher, center in sampler.centers.items()}
            self.heads = AuxiliaryHeads(network, sampler.class_count, widths)
        for stage in network.backbone.stages[: config.frozen_stages]:
            stage.requires_grad_(False)
        self.network = copy.deepcopy(network)
        self._statistics = [b for b in network.backbone.buffers() if b.is_floating_point()]
        self._statistics += [b for b in network.projections.buffers() if b.is_floating_point()]
        self.step = 0
        self.within_step = False
        self.optimizer = self._build_optimizer()

    @property
    def steps(self) -> int:
        """Steps of the whole run, classification and episodes."""
        return self.config.steps

    def run(self, until: int | None = None) -> Iterator[Progress]:
        """Train from the present step to step `until` (the end if None), reporting every step."""
        until = self.steps if until is None else until
        while self.step < until:
            if self.step == self.config.pretrain_steps:
                # The average is better than the last step; its statistics belong to it.
                self.student.load_state_dict(self.network.state_dict())
                self.optimizer = self._build_optimizer()  # the schedule restarts, so must the momentum
            yield self._advance()

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs to continue bit for bit."""
        return {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.student.state_dict(),
            "average": self.network.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`.

        Raises:
            TrainingError: The state is of a run with other settings, another network or other data.
        """
        changed = self.config.differences(state["config"])
        if changed:
            raise TrainingError(
                f"the saved run has other settings ({', '.join(changed)}): give the same ones to continue, "
                "or another folder for a new run"
            )
        if state["step"] > self.config.pretrain_steps:
            self.step = state["step"]
            self.optimizer = self._build_optimizer()  # that of the second phase moves fewer stages
        try:
            self.student.load_state_dict(state["network"])
            self.network.load_state_dict(state["average"])
            self.heads.load_state_dict(state["heads"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                "the saved run is of another network or of other data: give the same ones to continue, or "
                "another folder for a new run"
            ) from error
        self.step = state["step"]

    @property
    def _frozen(self) -> int:
        """Stages that stay as they are in the present phase."""
        config = self.config
        pretraining = self.step < config.pretrain_steps
        return config.frozen_stages if pretraining else config.frozen_stages_episodes

    def _build_optimizer(self) -> torch.optim.Optimizer:
        config, backbone = self.config, self.student.backbone
        pretraining = self.step < config.pretrain_steps
        last = config.backbone_rate if pretraining else config.backbone_rate_episodes
        groups: list[dict[str, Any]] = []
        for index, stage in list(enumerate(backbone.stages))[self._frozen :]:
            factor = last * config.stage_decay ** (len(backbone.stages) - 1 - index)
            groups += _parameter_groups(list(stage.parameters()), factor, config.weight_decay)
        in_backbone = {id(p) for p in backbone.parameters()}
        new = [p for p in [*self.student.parameters(), *self.heads.parameters()] if id(p) not in in_backbone]
        groups += _parameter_groups(new, 1.0, config.weight_decay)
        return torch.optim.AdamW(groups, lr=0.0)

    def _advance(self) -> Progress:
        self.within_step = True
        config = self.config
        pretraining = self.step < config.pretrain_steps
        start, length, peak = (
            (0, config.pretrain_steps, config.pretrain_learning_rate)
            if pretraining
            else (config.pretrain_steps, config.episodes, config.learning_rate)
        )
        position = self.step - start
        rate = peak * 0.5 * (1 + math.cos(math.pi * position / length))
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate * min(1.0, (position + 1) / config.warmup) * parameters["factor"]
        self._set_mode(pretraining)
        rng = np.random.default_rng((config.seed, self.step, self.workers.rank))
        try:
            loss, accuracy = self._classify(rng) if pretraining else self._episode(rng)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise self._diverged() from error
        if not bool(loss.isfinite()):
            raise self._diverged()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        changed = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.workers.average_gradients(changed)
        nn.utils.clip_grad_norm_(changed, 5.0)
        self.optimizer.step()
        # Each process has batch statistics of its own; the state that is saved is that of the first.
        self.workers.share(self._statistics)
        self.step += 1
        self._average()
        self.within_step = False
        return Progress(
            "classes" if pretraining else "episodes",
            position + 1,
            length,
            float(loss.detach()),
            accuracy,
            self.student.scalars(),
        )

    def _set_mode(self, pretraining: bool) -> None:
        self.student.train()
        backbone = self.student.backbone
        for stage in backbone.stages[: self.config.frozen_stages]:
            stage.eval()
        if not pretraining:
            # An episode is of one group: its statistics are not those of all.
            for module in self.student.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    @torch.no_grad()
    def _average(self) -> None:
        # The average of the first steps would be of random layers.
        decay = min(self.config.averaging, self.step / (self.step + 10))
        target = self.network.state_dict()
        for name, value in self.student.state_dict().items():
            if value.is_floating_point():
                target[name].lerp_(value, 1 - decay)
            else:
                target[name].copy_(value)

    def _maps(self, batch: CachedBatch) -> tuple[dict[LevelName, Tensor], Tensor]:
        """Return the projected maps by level and the pooled high map of the backbone (N, channels)."""
        maps = batch.maps.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            for stage in self.student.backbone.stages[self.config.frozen_stages : self._frozen]:
                maps = stage(maps)
        raw = self.student.backbone(maps, self._frozen)
        return self.student.project(raw), raw["high"].mean(dim=(2, 3))

    def _classification(self, maps: dict[LevelName, Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
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

    def _teaching(self, batch: CachedBatch, pooled: Tensor, tokens: Tensor) -> Tensor:
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
        """Loss and accuracy of photos drawn from all classes of all groups."""
        batch = self.sampler.draw_batch(rng)
        maps, pooled = self._maps(batch)
        loss, logits = self._classification(maps, batch.targets)
        first = maps[self.student.config.levels[0]].mean(dim=(2, 3))
        return loss + self._teaching(batch, pooled, first), _accuracy(logits, batch.targets)

    def _episode(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Loss and accuracy of one episode; classification and teachers keep what was learned."""
        config = self.config
        episode = self.sampler.draw_episode(rng)
        maps, pooled = self._maps(episode.batch)
        shots = episode.way * episode.shot
        classes = self.student.class_tokens({name: m[:shots] for name, m in maps.items()}, episode.way)
        logits = self.student.compare({name: m[shots:] for name, m in maps.items()}, classes)
        loss = F.cross_entropy(logits, episode.targets)
        if config.class_weight:
            loss = loss + config.class_weight * self._classification(maps, episode.batch.targets)[0]
        if config.teacher_weight_episodes:
            first = maps[self.student.config.levels[0]].mean(dim=(2, 3))
            loss = loss + config.teacher_weight_episodes * self._teaching(episode.batch, pooled, first)
        return loss, _accuracy(logits, episode.targets)

    def _diverged(self) -> TrainingError:
        return TrainingError(f"the loss is not finite at step {self.step}: lower the learning rate")


def _parameter_groups(parameters: list[nn.Parameter], factor: float, decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels are decayed towards zero; norms, biases and scalars are not."""
    split = [([p for p in parameters if p.dim() > 1], decay), ([p for p in parameters if p.dim() <= 1], 0.0)]
    return [{"params": p, "weight_decay": d, "factor": factor} for p, d in split if p]


def _accuracy(logits: Tensor, targets: Tensor) -> float:
    return float((logits.argmax(dim=1) == targets).float().mean())
