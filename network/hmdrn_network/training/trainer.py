"""Training from photos: classification over all classes, then episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.heads.ridge import gram
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.augmentation import augment
from hmdrn_network.training.base_trainer import BaseTrainer, measure_accuracy, parameter_groups
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.photos import PhotoGroup
from hmdrn_network.training.sampling import draw_batch, draw_episode
from hmdrn_network.training.workers import Workers
from hmdrn_runtime.errors import TrainingError


class Trainer(BaseTrainer):
    """Trains a network on photos, in place and on the device that it is on.

    Args:
        network: The network.
        groups: Photos; an episode takes its classes from one group, groups weighted by their classes.
        config: Settings.
        workers: This process among others that train the same network.

    Raises:
        TrainingError: Groups with fewer than two usable classes.
    """

    def __init__(
        self,
        network: HMDRN,
        groups: Sequence[PhotoGroup],
        config: TrainingConfig,
        workers: Workers = Workers(),  # noqa: B008 (immutable)
    ) -> None:
        _check_groups(groups, config)
        super().__init__(network, config, workers)
        self.groups = groups
        classes = sum(len(g.classes) for g in groups)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.classifier = nn.Linear(network.config.level_specs[0].channels, classes).to(self.device)
        self.optimizer = self._build_optimizer()

    def _modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network, "classifier": self.classifier}

    def _build_optimizer(self) -> torch.optim.Optimizer:
        decay, backbone = self.config.weight_decay, list(self.network.backbone.parameters())
        in_backbone = {id(p) for p in backbone}
        rest = [*self.network.parameters(), *self.classifier.parameters()]
        groups = parameter_groups(backbone, self.config.backbone_rate, decay)
        groups += parameter_groups([p for p in rest if id(p) not in in_backbone], 1.0, decay)
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)

    def _compute_loss(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        self.network.train()
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        torch.manual_seed(int(rng.integers(2**62)))  # DropBlock draws from the global generator
        compute = self._classify if self.pretraining else self._compare_episode
        logits, targets, penalty = compute(rng, generator)
        return F.cross_entropy(logits, targets) + penalty, measure_accuracy(logits, targets)

    def _classify(
        self, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, targets and no penalty for photos of all classes of all groups."""
        images, targets = draw_batch(self.groups, self.config.pretrain_batch, rng)
        maps = self._compute_maps(images, generator)
        pooled = next(iter(maps.values())).mean(dim=(2, 3))
        return self.classifier(pooled), targets.to(self.device), pooled.new_zeros(())

    def _compare_episode(
        self, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, targets and penalty of an N-way K-shot episode, K drawn from 1 to `max_shot`."""
        config = self.config
        episode = draw_episode(self.groups, config.way, config.max_shot, config.queries, rng)
        # One pass for both kinds of photos, so that they share the batch's statistics.
        maps = self._compute_maps(episode.images, generator)
        logits, classes = self.network.compare_episode(maps, episode.way, episode.shot)
        penalty = config.auxiliary * support_overlap(classes) if config.auxiliary else logits.new_zeros(())
        return logits, episode.targets.to(self.device), penalty

    def _compute_maps(self, images: Tensor, generator: torch.Generator) -> dict[LevelName, Tensor]:
        photos = augment(images.to(self.device), self.network.config.side, generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.amp):
            maps = self.network.features(photos)
        return {name: m.float() for name, m in maps.items()}


def _check_groups(groups: Sequence[PhotoGroup], config: TrainingConfig) -> None:
    if not groups:
        raise TrainingError("no photos to train on: give at least one group")
    for group in groups:
        if any(len(c) == 0 for c in group.classes):
            raise TrainingError(f"group {group.name!r} has a class without photos: leave it out")
        if sum(len(c) > config.max_shot for c in group.classes) < 2:
            raise TrainingError(
                f"group {group.name!r} has fewer than 2 classes with more than {config.max_shot} photos: "
                "add photos or lower max_shot"
            )


def support_overlap(classes: Mapping[LevelName, Tensor]) -> Tensor:
    """Return the mean squared cosine between support tokens of different classes.

    FRN's auxiliary loss (Wertheimer et al., CVPR 2021, eq. 11) is the sum of |S_i S_j'|^2 over pairs of
    classes, of tokens scaled to unit length. Here it is a mean over the pairs of tokens, summed over the
    levels: its weight does not depend on way and shots.

    Args:
        classes: Support tokens by class {level: (C, n, d)}, C at least 2.

    Returns:
        A scalar: 0 (orthogonal) to 1 for each level.
    """
    total = torch.zeros((), device=next(iter(classes.values())).device)
    for tokens in classes.values():
        c, n, _ = tokens.shape
        # |S_i S_j'|^2 = <S_i'S_i, S_j'S_j>: Gram matrices stand for all pairs of tokens at once.
        products = gram(F.normalize(tokens, dim=-1)).flatten(1)
        pairs = products @ products.T
        total = total + (pairs.sum() - pairs.diagonal().sum()) / (c * (c - 1) * n * n)
    return total
