"""A training run in a folder, where it is saved and from where a later call continues it."""

from __future__ import annotations

import io
import json
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmdrn_network.checkpoints import RUN_CHECKPOINT, RUN_STATE, ModelCard, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.base_trainer import BaseTrainer
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.history import History
from hmdrn_network.training.listener import Listener
from hmdrn_network.training.photos import PhotoGroup
from hmdrn_network.training.process import defer_interrupts, keep_freed_memory
from hmdrn_network.training.start import build_trainer
from hmdrn_network.training.validation import BaseValidation, Validation
from hmdrn_network.training.workers import join_workers
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.evaluation.episodes import mean_and_interval
from hmdrn_runtime.io.files import describe_os_error, write_atomically

PRETRAINED = "pretrained.safetensors"
HISTORY = "history.json"


def train(
    network: NetworkConfig,
    groups: Sequence[PhotoGroup],
    config: TrainingConfig,
    folder: Path,
    card: ModelCard,
    *,
    validation: Validation | None = None,
    start: HMDRN | None = None,
    keep_start: bool = False,
    device: torch.device = torch.device("cpu"),  # noqa: B008 (immutable)
    listener: Listener = Listener(),  # noqa: B008 (has no state)
    save_interval: float = 300.0,
) -> HMDRN:
    """Train in a folder in which a later call continues.

    The folder gets `state.pt` (to resume), `model.safetensors` (the checkpoint: the best on validation,
    or the last without validation), `pretrained.safetensors` (the network before the episodes) and
    `history.json` (losses, learned scalars, validations); all are replaced atomically.

    Args:
        network: Configuration of the network.
        groups: Photos to train on.
        config: Settings; they must be those of the run in `folder`, if it holds one.
        folder: Folder of the run.
        card: Model card of the checkpoint; its recipe must be that of the run in `folder`.
        validation: Measures the start, and the network every `config.validation_interval` episodes.
        start: Network to start from instead of random weights; its weights of the same name and shape are
            copied.
        keep_start: True if `start` is trained: it is validated first, and is the result of the run unless
            later weights lead by more than the 95 % interval of the difference.
        device: Device to train on.
        listener: Receives the events of the run.
        save_interval: Seconds between two saved states.

    Returns:
        The trained network, in evaluation mode on the CPU: the best on validation, or the last.

    Raises:
        TrainingError: Unusable data or settings, or a folder that cannot be written.
    """
    with join_workers(device) as workers:
        trainer = build_trainer(network, groups, config, start, device, workers)
        return run_in_folder(trainer, folder, card, validation, listener, save_interval, keep_start)


def run_in_folder(
    trainer: BaseTrainer,
    folder: Path,
    card: ModelCard,
    validation: BaseValidation | None = None,
    listener: Listener = Listener(),  # noqa: B008 (has no state)
    save_interval: float = 300.0,
    keep_start: bool = False,
) -> HMDRN:
    """Run a trainer in a folder that a later call continues in; arguments and result as for `train`.

    With `keep_start` the trainer's network as it is may be the result, as in `train`.

    Raises:
        TrainingError: Unusable data or settings, or a folder that cannot be written.
    """
    run = _Run(trainer, folder, card, validation, listener, save_interval, keep_start)
    run.train()
    return run.load_result()


@dataclass
class _Run:
    """Files and decisions of a run around its trainer."""

    trainer: BaseTrainer
    folder: Path
    card: ModelCard
    validation: BaseValidation | None
    listener: Listener
    save_interval: float
    keep_start: bool
    history: History = field(default_factory=History)
    best: dict[str, torch.Tensor] | None = None
    start: dict[str, torch.Tensor] | None = None
    """Percent of every episode of the start's validation by name; None if the start was not validated."""

    def __post_init__(self) -> None:
        self.is_first = self.trainer.workers.rank == 0
        state_file = self.folder / RUN_STATE
        if state_file.exists():
            self._restore(read_state(state_file))
            if self.is_first:
                self.listener.on_resume(self.trainer.step, self.trainer.steps)

    def train(self) -> None:
        """Train to the end, saving at intervals, after an interrupt, and at the end."""
        trainer, config = self.trainer, self.trainer.config
        if trainer.device.type == "cpu":
            keep_freed_memory()
        self.save()  # a folder that cannot be written fails now, not after hours
        saved = time.monotonic()
        try:
            with defer_interrupts() as interrupted:
                if self.keep_start and self.validation and not trainer.step and self.start is None:
                    self._validate()
                for progress in trainer.run():
                    self.history.add(progress)
                    if self.is_first:
                        self.listener.on_step(progress, trainer.step, trainer.steps)
                    if trainer.workers.any(interrupted.is_set(), trainer.device):
                        raise KeyboardInterrupt
                    if trainer.step == config.pretrain_steps:
                        self._save_model(PRETRAINED, trainer.network.state_dict())
                    if self._is_validation_due():
                        self._validate()
                        if config.patience and self.history.validations_since_best() >= config.patience:
                            break
                    if time.monotonic() - saved > self.save_interval:
                        self.save()
                        saved = time.monotonic()
        finally:
            # After an interrupt too; within a step the state is not one of the run.
            if not trainer.within_step:
                self.save()
        if self.is_first:
            self.listener.on_finish(self.history.best_step)

    def load_result(self) -> HMDRN:
        """Return the network of `model.safetensors`."""
        network = self.trainer.network
        network.load_state_dict(self._best_weights())
        return network.cpu().eval()

    def save(self) -> None:
        """Write state, checkpoint and history, in the first process alone."""
        if not self.is_first:
            return
        state = {
            **self.trainer.state(),
            "best": self.best,
            "start": self.start,
            "history": self.history.to_dict(),
            "card": self._recipe(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / RUN_STATE, buffer.getvalue())
            write_atomically(self.folder / HISTORY, json.dumps(self.history.to_dict()).encode())
        except OSError as error:
            raise TrainingError(f"cannot write to {self.folder}: {describe_os_error(error)}") from error
        self._save_model(RUN_CHECKPOINT, self._best_weights())
        self.listener.on_save(self.folder)

    def _restore(self, state: dict[str, Any]) -> None:
        self.trainer.restore(state)
        if state["card"] != self._recipe():
            raise TrainingError(
                f"{self.folder} holds a run on other photos or other splits, or with another guide: give the "
                "same ones to continue, or another folder for a new run"
            )
        self.history = History.from_dict(state["history"])
        self.best, self.start = state["best"], state["start"]

    def _recipe(self) -> str:
        return json.dumps(self.card.recipe, sort_keys=True)

    def _is_validation_due(self) -> bool:
        config = self.trainer.config
        episode = self.trainer.step - config.pretrain_steps
        return (
            self.validation is not None
            and episode > 0
            and (episode % config.validation_interval == 0 or episode == config.episodes)
        )

    def _validate(self) -> None:
        assert self.validation is not None
        network = self.trainer.network
        workers = self.trainer.workers
        workers.share(network.buffers())  # each process has other batch statistics
        measured = {
            name: torch.as_tensor(percent, dtype=torch.float64, device=self.trainer.device)
            for name, percent in self.validation.measure(network).items()
        }
        workers.share(measured.values())  # all processes must decide alike
        episodes = {name: percent.cpu() for name, percent in measured.items()}
        if self.keep_start and not self.trainer.step:
            self.start = episodes
        accuracies = {name: float(percent.mean()) for name, percent in episodes.items()}
        best = self.history.add_validation(self.trainer.step, accuracies, self._beats_start(episodes))
        if best:
            self.best = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        if self.is_first:
            self.listener.on_validation(accuracies, best)

    def _beats_start(self, episodes: Mapping[str, torch.Tensor]) -> bool:
        """Compare with the start's validation, paired by episode; the start itself passes."""
        if self.start is None or not self.trainer.step:
            return True
        gains = [(episodes[name] - percent).numpy() for name, percent in self.start.items()]
        gain, interval = mean_and_interval(np.mean(gains, axis=0))
        return gain > interval

    def _best_weights(self) -> dict[str, torch.Tensor]:
        return self.best if self.best is not None else self.trainer.network.state_dict()

    def _save_model(self, name: str, weights: Mapping[str, torch.Tensor]) -> None:
        if not self.is_first:
            return
        network = HMDRN(self.trainer.network.config)
        network.load_state_dict(weights)
        trainer = self.trainer
        patience = trainer.config.patience
        done = trainer.step == trainer.steps or 0 < patience <= self.history.validations_since_best()
        recipe = {
            **self.card.recipe,
            "training": asdict(trainer.config),
            "steps_done": trainer.step,
            "finished": done and name == RUN_CHECKPOINT,
        }
        metrics = {**self.card.metrics, **(self.history.best_accuracies() if name == RUN_CHECKPOINT else {})}
        save_checkpoint(self.folder / name, network, replace(self.card, recipe=recipe, metrics=metrics))


def read_state(path: Path) -> dict[str, Any]:
    """Read the saved state of a trainer, on the CPU.

    Raises:
        TrainingError: The file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}): remove it to start a new run"
        ) from error
    return state
