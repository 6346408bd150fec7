"""The parts that a run is made of: a trainer, a validation and a listener."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.trainer import Progress
from hmdrn_network.training.workers import Workers


class AnyTrainer(Protocol):
    """The part of a trainer that a run needs; see `Trainer`."""

    network: HMDRN
    workers: Workers
    device: torch.device
    step: int
    within_step: bool

    @property
    def config(self) -> TrainingConfig:
        """Settings of the run."""

    @property
    def steps(self) -> int:
        """Steps of the whole run."""

    def run(self, until: int | None = None) -> Iterator[Progress]:
        """Train to step `until`, or to the end."""

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""


class AnyValidation(Protocol):
    """Measures a network while it trains."""

    def measure(self, network: HMDRN) -> dict[str, float]:
        """Return accuracies in percent by name."""


class Listener:
    """Receives the events of a run; does nothing itself."""

    def resumed(self, step: int, steps: int) -> None:
        """The run goes on after `step` of `steps`."""

    def stepped(self, progress: Progress, step: int, steps: int) -> None:
        """A step was made; it is number `step` of `steps` over both phases."""

    def validated(self, accuracies: Mapping[str, float], best: bool) -> None:
        """The network was validated; `best` if on average it is better than ever before."""

    def saved(self, folder: Path) -> None:
        """State, checkpoint and history are on the disk."""
