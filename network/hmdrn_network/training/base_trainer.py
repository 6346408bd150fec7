"""Steps that all trainers share: schedule, gradients, and a state that can be saved and restored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.workers import Workers
from hmdrn_runtime.errors import TrainingError

MAX_GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class Progress:
    """Result of a training step.

    Attributes:
        phase: "classes" (classification) or "episodes".
        step: Number of the step within the phase, from 1.
        steps: Steps of the phase.
        loss: Loss of the step.
        accuracy: Share of the step's photos that are classified correctly, 0-1.
        scalars: Learned scalars of heads and fusion by name; see `HMDRN.scalars`.
    """

    phase: str
    step: int
    steps: int
    loss: float
    accuracy: float
    scalars: Mapping[str, float] = field(default_factory=dict)


class BaseTrainer(ABC):
    """Trains a network step by step; its whole state can be saved and restored between two steps.

    Attributes:
        network: The result of the training.
        student: The network that the steps change; `network` itself unless a trainer averages weights.
        config: Settings.
        workers: This process among others that train the same network.
        device: The device that the network is on.
        step: Steps done.
        within_step: True while a step is under way, or after it failed.
        optimizer: Optimizer of the present phase.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, network: HMDRN, config: TrainingConfig, workers: Workers) -> None:
        # Convolutions of channels-last maps are much faster on a CPU, and no slower on a GPU.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = self.student = network
        self.config, self.workers = config, workers
        self.device = next(network.parameters()).device
        self.step = 0
        self.within_step = False

    @property
    def steps(self) -> int:
        """Steps of the whole run, classification and episodes."""
        return self.config.steps

    @property
    def pretraining(self) -> bool:
        """True in the phase of classification, before the episodes."""
        return self.step < self.config.pretrain_steps

    def run(self, until: int | None = None) -> Iterator[Progress]:
        """Train from the present step to step `until` (the end if None), reporting every step."""
        until = self.steps if until is None else until
        while self.step < until:
            if self.step == self.config.pretrain_steps:
                self._begin_episodes()
            yield self._advance()

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs to continue bit for bit."""
        return {
            "config": asdict(self.config),
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            **{name: module.state_dict() for name, module in self._modules().items()},
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
        self.step = state["step"]
        if self.step > self.config.pretrain_steps:
            self.optimizer = self._build_optimizer()  # that of the second phase may change fewer weights
        try:
            for name, module in self._modules().items():
                module.load_state_dict(state[name])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                "the saved run is of another network or of other data: give the same ones to continue, or "
                "another folder for a new run"
            ) from error

    @abstractmethod
    def _modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose weights belong to the state, by name."""

    @abstractmethod
    def _build_optimizer(self) -> torch.optim.Optimizer:
        """Return a new optimizer for the present phase, of groups made by `parameter_groups`."""

    @abstractmethod
    def _compute_loss(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Return loss and accuracy (0-1) of a step; `rng` is the source of all that is random."""

    def _begin_episodes(self) -> None:
        self.optimizer = self._build_optimizer()  # the schedule restarts, so must the momentum

    def _finish_step(self) -> None:
        self.step += 1

    def _advance(self) -> Progress:
        self.within_step = True
        config, pretraining = self.config, self.pretraining
        start, length, peak = (
            (0, config.pretrain_steps, config.pretrain_learning_rate)
            if pretraining
            else (config.pretrain_steps, config.episodes, config.learning_rate)
        )
        position = self.step - start
        rate = peak * 0.5 * (1 + math.cos(math.pi * position / length))
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate * min(1.0, (position + 1) / config.warmup) * parameters["factor"]
        try:
            loss, accuracy = self._compute_loss(
                np.random.default_rng((config.seed, self.step, self.workers.rank))
            )
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise self._diverged() from error
        if not bool(loss.isfinite()):
            raise self._diverged()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        changed = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.workers.average_gradients(changed)
        nn.utils.clip_grad_norm_(changed, MAX_GRADIENT_NORM)
        self.optimizer.step()
        self._finish_step()
        self.within_step = False
        phase, scalars = "classes" if pretraining else "episodes", self.student.scalars()
        return Progress(phase, position + 1, length, float(loss.detach()), accuracy, scalars)

    def _diverged(self) -> TrainingError:
        return TrainingError(f"the loss is not finite at step {self.step}: lower the learning rate")


def parameter_groups(parameters: Sequence[nn.Parameter], factor: float, decay: float) -> list[dict[str, Any]]:
    """Group parameters for an optimizer: matrices and kernels decay; norms, biases and scalars do not.

    Args:
        parameters: Weights to train.
        factor: Factor of the learning rate.
        decay: Weight decay.
    """
    split = [([p for p in parameters if p.dim() > 1], decay), ([p for p in parameters if p.dim() <= 1], 0.0)]
    return [{"params": p, "weight_decay": d, "factor": factor} for p, d in split if p]


def measure_accuracy(logits: Tensor, targets: Tensor) -> float:
    """Return the share (0-1) of logits (N, C) that are highest at their target (N,)."""
    return float((logits.argmax(dim=1) == targets).float().mean())
