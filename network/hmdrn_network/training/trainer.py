"""The steps of training, and the state that they move."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.augmentation import augment
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.losses import overlap
from hmdrn_network.training.photos import PhotoGroup
from hmdrn_network.training.sampling import draw_batch, draw_episode
from hmdrn_network.training.workers import Workers
from hmdrn_runtime.errors import TrainingError


@dataclass(frozen=True)
class Progress:
    """What a step of training reports.

    Attributes:
        phase: "classes" (classification) or "episodes".
        step: Its number within the phase, from 1.
        steps: Steps of the phase.
        loss: Of the step.
        accuracy: Share of the step's photos named rightly, 0-1.
        scalars: The learned scalars of heads and fusion by name; see `HMDRN.scalars`.
    """

    phase: str
    step: int
    steps: int
    loss: float
    accuracy: float
    scalars: Mapping[str, float] = field(default_factory=dict)


class Trainer:
    """Trains a network step by step; its whole state can be saved and restored between any two steps.

    Args:
        network: What to train, in place, on the device where it lies.
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
        _check(groups, config)
        # Convolutions of channels-last maps are much faster on a CPU, and no slower on a GPU.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.groups, self.config, self.workers = network, groups, config, workers
        self.device = next(network.parameters()).device
        classes = sum(len(g.classes) for g in groups)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.classifier = nn.Linear(network.config.level_specs[0].channels, classes).to(self.device)
        self.step = 0
        self.within_step = False
        self.optimiser = self._optimiser()

    @property
    def steps(self) -> int:
        """Steps of the whole run, classification and episodes."""
        return self.config.steps

    def run(self, until: int | None = None) -> Iterator[Progress]:
        """Train from where it stands to step `until` (the end if None), reporting every step."""
        until = self.steps if until is None else until
        while self.step < until:
            if self.step == self.config.pretrain_steps:
                self.optimiser = self._optimiser()  # the schedule restarts, so must the momentum
            yield self._advance()

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on as if never stopped."""
        return {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "classifier": self.classifier.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            TrainingError: The state is of a run with other settings, another network or other data.
        """
        changed = self.config.differences(state["config"])
        if changed:
            raise TrainingError(
                f"the saved run has other settings ({', '.join(changed)}): give the same ones to go on, or "
                "another folder for a new run"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.classifier.load_state_dict(state["classifier"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                "the saved run is of another network or of other data: give the same ones to go on, or "
                "another folder for a new run"
            ) from error
        self.step = state["step"]

    def _optimiser(self) -> torch.optim.Optimizer:
        # Norms, biases and the scalars of the heads are not decayed towards zero.
        in_backbone = list(self.network.backbone.parameters())
        ids = {id(p) for p in in_backbone}
        others = [*self.network.parameters(), *self.classifier.parameters()]
        rates = ((in_backbone, self.config.backbone_rate), ([p for p in others if id(p) not in ids], 1.0))
        groups = [
            {"params": [p for p in parameters if (p.dim() > 1) is decays], "factor": rate}
            | {"weight_decay": self.config.weight_decay if decays else 0.0}
            for parameters, rate in rates
            for decays in (True, False)
        ]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)

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
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate * min(1.0, (position + 1) / config.warmup) * parameters["factor"]
        self.network.train()
        # A run of one process draws what it drew before there could be several.
        seed = (config.seed, self.step, self.workers.rank) if self.workers.rank else (config.seed, self.step)
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        torch.manual_seed(int(rng.integers(2**62)))  # DropBlock draws from the global generator
        try:
            logits, target, penalty = (self._classify if pretraining else self._episode)(rng, generator)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise self._diverged() from error
        loss = F.cross_entropy(logits, target) + penalty
        if not bool(loss.isfinite()):
            raise self._diverged()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        moved = [p for g in self.optimiser.param_groups for p in g["params"]]
        self.workers.average_gradients(moved)
        nn.utils.clip_grad_norm_(moved, 5.0)
        self.optimiser.step()
        self.step += 1
        self.within_step = False
        accuracy = float((logits.argmax(dim=1) == target).float().mean())
        return Progress(
            "classes" if pretraining else "episodes",
            position + 1,
            length,
            float(loss.detach()),
            accuracy,
            self.network.scalars(),
        )

    def _classify(
        self, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, targets and no penalty of photos drawn from all classes of all groups."""
        batch = draw_batch(self.groups, self.config.pretrain_batch, rng)
        maps = self._features(batch.images, generator)
        pooled = next(iter(maps.values())).mean(dim=(2, 3))
        return self.classifier(pooled), batch.targets.to(self.device), pooled.new_zeros(())

    def _episode(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, targets and penalty of one N-way K-shot episode, K drawn from 1 to `max_shot`."""
        config = self.config
        episode = draw_episode(self.groups, config.way, config.max_shot, config.queries, rng)
        # One pass for both kinds of photos, so that they share the batch's statistics.
        maps = self._features(episode.images, generator)
        shots = episode.way * episode.shot
        classes = self.network.class_tokens({name: m[:shots] for name, m in maps.items()}, episode.way)
        logits = self.network.compare({name: m[shots:] for name, m in maps.items()}, classes)
        penalty = config.auxiliary * overlap(classes) if config.auxiliary else logits.new_zeros(())
        return logits, episode.targets.to(self.device), penalty

    def _features(self, images: Tensor, generator: torch.Generator) -> dict[LevelName, Tensor]:
        photos = augment(images.to(self.device), self.network.config.side, generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.amp):
            maps = self.network.features(photos)
        return {name: m.float() for name, m in maps.items()}

    def _diverged(self) -> TrainingError:
        return TrainingError(f"the loss is not finite at step {self.step}: lower the learning rate")


def _check(groups: Sequence[PhotoGroup], config: TrainingConfig) -> None:
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
