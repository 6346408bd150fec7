"""A training run in a folder: saved as it goes, and gone on with by a later call."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hmdrn_network.checkpoints import ModelCard, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.history import History
from hmdrn_network.training.interfaces import AnyTrainer, AnyValidation, Listener
from hmdrn_network.training.photos import PhotoGroup
from hmdrn_network.training.process import defer_interrupts, keep_freed_memory
from hmdrn_network.training.trainer import Trainer
from hmdrn_network.training.validation import Validation
from hmdrn_network.training.workers import Workers, joined
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.io.files import describe_os_error, write_atomically

STATE = "state.pt"
MODEL = "model.safetensors"
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
    device: torch.device = torch.device("cpu"),  # noqa: B008 (immutable)
    listener: Listener = Listener(),  # noqa: B008 (has no state)
    every: float = 300.0,
) -> HMDRN:
    """Train in a folder that a later call goes on in.

    The folder gets `state.pt` (to resume), `model.safetensors` (the checkpoint: the best on validation,
    or the last where there is none), `pretrained.safetensors` (the network before the episodes) and
    `history.json` (losses, learned scalars, validations); all are replaced atomically.

    Args:
        network: What to train.
        groups: Photos to train on.
        config: Settings; they must be those of the run in `folder`, if there is one.
        folder: Of the run.
        card: Model card of the checkpoint; its recipe must be that of the run in `folder`.
        validation: Measures the network every `config.validate_every` episodes.
        start: Network to start from instead of random weights; whatever of it fits is taken.
        device: Where to train.
        listener: Told what happens.
        every: Seconds between two saved states.

    Returns:
        The trained network, in evaluation mode on the CPU: the best on validation, or the last.

    Raises:
        TrainingError: Unusable data or settings, or a folder that cannot be written.
    """
    torch.manual_seed(config.seed)
    built = HMDRN(network)
    if start is not None:
        _take_over(start, built)
    with joined(device) as workers:
        trainer = Trainer(built.to(device), groups, config, workers)
        return run_in_folder(trainer, folder, card, validation, listener, every)


def run_in_folder(
    trainer: AnyTrainer,
    folder: Path,
    card: ModelCard,
    validation: AnyValidation | None = None,
    listener: Listener = Listener(),  # noqa: B008 (has no state)
    every: float = 300.0,
) -> HMDRN:
    """Run a trainer in a folder that a later call continues in; arguments and result as for `train`.

    Raises:
        TrainingError: Unusable data or settings, or a folder that cannot be written.
    """
    run = _Run(trainer, folder, card, validation, listener, every)
    run.go_on()
    return run.result()


class _Run:
    """The files and the decisions of a run around its trainer."""

    def __init__(
        self,
        trainer: AnyTrainer,
        folder: Path,
        card: ModelCard,
        validation: AnyValidation | None,
        listener: Listener,
        every: float,
    ) -> None:
        self.trainer, self.folder, self.card = trainer, folder, card
        self.validation, self.listener, self.every = validation, listener, every
        self.history = History()
        self.best: dict[str, torch.Tensor] | None = None
        self.workers: Workers = trainer.workers
        self.first = self.workers.rank == 0
        state_file = folder / STATE
        if state_file.exists():
            self._restore(read_state(state_file))
            if self.first:
                listener.resumed(trainer.step, trainer.steps)

    def go_on(self) -> None:
        """Train to the end, saving every so often, after an interrupt, and when done."""
        trainer, config = self.trainer, self.trainer.config
        if trainer.device.type == "cpu":
            keep_freed_memory()
        self.save()  # a folder that cannot be written is found out now, not in an hour
        saved = time.monotonic()
        try:
            with defer_interrupts() as interrupted:
                for progress in trainer.run():
                    self.history.add(progress)
                    if self.first:
                        self.listener.stepped(progress, trainer.step, trainer.steps)
                    if self.workers.any(interrupted.is_set(), trainer.device):
                        raise KeyboardInterrupt
                    if trainer.step == config.pretrain_steps:
                        self._save_model(PRETRAINED, trainer.network.state_dict())
                    if self._validation_is_due():
                        self._validate()
                        if config.patience and self.history.validations_since_best() >= config.patience:
                            break
                    if time.monotonic() - saved > self.every:
                        self.save()
                        saved = time.monotonic()
        finally:
            # An interrupt leaves a usable checkpoint too; half a step would change the run.
            if not trainer.within_step:
                self.save()

    def result(self) -> HMDRN:
        """The network that `model.safetensors` holds."""
        network = self.trainer.network
        network.load_state_dict(self._chosen())
        return network.cpu().eval()

    def save(self) -> None:
        """Write state, checkpoint and history; by the first process alone."""
        if not self.first:
            return
        state = {
            **self.trainer.state(),
            "best": self.best,
            "history": self.history.to_dict(),
            "card": self._recipe(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / STATE, buffer.getvalue())
            write_atomically(self.folder / HISTORY, json.dumps(self.history.to_dict()).encode())
        except OSError as error:
            raise TrainingError(f"cannot write to {self.folder}: {describe_os_error(error)}") from error
        self._save_model(MODEL, self._chosen())
        self.listener.saved(self.folder)

    def _restore(self, state: dict[str, Any]) -> None:
        self.trainer.restore(state)
        if state["card"] != self._recipe():
            raise TrainingError(
                f"{self.folder} holds a run on other photos or other splits: give the same data to go on, or "
                "another folder for a new run"
            )
        self.history = History.from_dict(state["history"])
        self.best = state["best"]

    def _recipe(self) -> str:
        return json.dumps(self.card.recipe, sort_keys=True)

    def _validation_is_due(self) -> bool:
        config = self.trainer.config
        episode = self.trainer.step - config.pretrain_steps
        return (
            self.validation is not None
            and episode > 0
            and (episode % config.validate_every == 0 or episode == config.episodes)
        )

    def _validate(self) -> None:
        assert self.validation is not None
        network = self.trainer.network
        self.workers.share(network.buffers())  # each process has batch statistics of its own
        measured = self.validation.measure(network)
        values = torch.tensor(list(measured.values()), dtype=torch.float64, device=self.trainer.device)
        self.workers.share([values])  # so that all of them decide alike
        accuracies = dict(zip(measured, values.tolist(), strict=True))
        best = self.history.add_validation(self.trainer.step, accuracies)
        if best:
            self.best = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        if self.first:
            self.listener.validated(accuracies, best)

    def _chosen(self) -> dict[str, torch.Tensor]:
        return self.best if self.best is not None else self.trainer.network.state_dict()

    def _save_model(self, name: str, weights: Mapping[str, torch.Tensor]) -> None:
        if not self.first:
            return
        network = HMDRN(self.trainer.network.config)
        network.load_state_dict(weights)
        trainer = self.trainer
        done = trainer.step == trainer.steps or (
            0 < trainer.config.patience <= self.history.validations_since_best()
        )
        recipe = {
            **self.card.recipe,
            "training": dataclasses.asdict(trainer.config),
            "steps_done": trainer.step,
            "finished": done and name == MODEL,
        }
        metrics = {**self.card.metrics, **(self.history.best_accuracies() if name == MODEL else {})}
        save_checkpoint(
            self.folder / name, network, dataclasses.replace(self.card, recipe=recipe, metrics=metrics)
        )


def _take_over(start: HMDRN, network: HMDRN) -> None:
    """Copy the weights that both have, by name and shape; the backbone's always."""
    if start.config.backbone != network.config.backbone:
        raise TrainingError(
            f"cannot start a {network.config.backbone} from a {start.config.backbone}: give weights of the "
            "same backbone"
        )
    own = network.state_dict()
    fitting = {n: w for n, w in start.state_dict().items() if n in own and own[n].shape == w.shape}
    network.load_state_dict({**own, **fitting})


def read_state(path: Path) -> dict[str, Any]:
    """A saved state of a trainer, on the CPU.

    Raises:
        TrainingError: The file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}): remove it to start anew"
        ) from error
    return state
