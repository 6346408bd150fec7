"""Training and evaluating every variant from every seed, in a folder that a later call resumes.

FOLDER/ablation.json              the settings and photos of the ablation
FOLDER/cache/                     decoded photos
FOLDER/seed-0/pretrained.pt       the trainer's state before the episodes, shared by all variants
FOLDER/seed-0/<variant>.pt        the trainer's state during or after the episodes
FOLDER/seed-0/<variant>.json      accuracy of every evaluation episode; exists once the variant is done
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.ablation.variants import FULL, VARIANTS
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.base_trainer import BaseTrainer, Progress
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.data import TrainingData
from hmdrn_network.training.process import keep_freed_memory
from hmdrn_network.training.run import read_state
from hmdrn_network.training.trainer import Trainer
from hmdrn_network.training.validation import BaseValidation, Validation
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting, evaluate
from hmdrn_runtime.io.files import describe_os_error, write_atomically
from hmdrn_runtime.progress import ProgressCallback

Outcome = list[dict[str, Any]]
"""One variant from one seed: {"group", "way", "shot", "queries", "accuracies"}, accuracies 0-1."""


class BaseExperiment(ABC):
    """Variants with the same episodes, from the same backbones.

    Args:
        folder: Folder of all files.
        identity: All that the results depend on, JSON-ready.
        validation: Photos and episodes to evaluate on.
        report: Receives the progress.
        save_interval: Seconds between two saved states.

    Raises:
        TrainingError: The folder holds an ablation of something else, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        validation: BaseValidation,
        report: ProgressCallback,
        save_interval: float = 60.0,
    ) -> None:
        self.folder, self.validation = folder, validation
        self.report, self.save_interval = report, save_interval
        evaluation = {
            # Without the seed, which is that of the training.
            name: [[s.way, s.shot, s.queries, s.episodes] for s in settings]
            for name, settings in validation.settings.items()
        }
        self.identity: dict[str, Any] = {**identity, "evaluation": evaluation}
        self._claim_folder()

    @abstractmethod
    def _make_trainer(self, variant: str, seed: int) -> BaseTrainer:
        """Return a trainer of a variant, before its first step."""

    @abstractmethod
    def _begin_episodes(self, trainer: BaseTrainer, seed: int) -> None:
        """Bring a new trainer to its first episode, with the seed's backbone."""

    def run(self, variant: str, seed: int) -> Outcome:
        """Return the accuracies of a variant: read from its file, or after training and evaluating it."""
        file = self.folder / f"seed-{seed}" / f"{variant}.json"
        if file.exists():
            outcome: Outcome = json.loads(file.read_text())
            return outcome
        network = self.train(variant, seed)
        outcome = []
        for name, classes in self.validation.groups.items():
            scorer = self.validation.make_scorer(network.eval())
            settings = [_with_seed(setting, seed) for setting in self.validation.settings[name]]
            for result in evaluate(
                scorer, classes, settings, self._with_title(f"seed {seed}, {variant}, {name}: ")
            ):
                outcome.append(
                    {
                        "group": name,
                        "way": result.setting.way,
                        "shot": result.setting.shot,
                        "queries": result.setting.queries,
                        "accuracies": result.episode_accuracies.tolist(),
                    }
                )
        write_file(file, json.dumps(outcome).encode())
        return outcome

    def train(self, variant: str, seed: int) -> HMDRN:
        """Return a variant after its episodes."""
        trainer = self._make_trainer(variant, seed)
        state = self._read_state(seed, variant)
        if state is None:
            self._begin_episodes(trainer, seed)
        else:
            trainer.restore(state)
        self._run_trainer(trainer, trainer.steps, f"seed {seed}, {variant}", self._state_file(seed, variant))
        return trainer.network

    def _run_trainer(self, trainer: BaseTrainer, until: int, title: str, file: Path) -> None:
        """Train until a step, saving at intervals and at the end."""
        if trainer.device.type == "cpu":
            keep_freed_memory()
        saved = time.monotonic()
        for progress in trainer.run(until):
            self._show(progress, title)
            if trainer.step == until or time.monotonic() - saved > self.save_interval:
                self._save(trainer, file)
                saved = time.monotonic()

    def _show(self, progress: Progress, title: str) -> None:
        text = (
            f"{title}: {progress.phase}, loss {progress.loss:.2f}, accuracy {100 * progress.accuracy:.0f} %"
        )
        self.report(text, progress.step, progress.steps)

    def _with_title(self, title: str) -> ProgressCallback:
        return lambda what, done, of: self.report(title + what, done, of)

    def _state_file(self, seed: int, name: str) -> Path:
        return self.folder / f"seed-{seed}" / f"{name}.pt"

    def _read_state(self, seed: int, name: str) -> dict[str, Any] | None:
        path = self._state_file(seed, name)
        return read_state(path) if path.exists() else None

    def _save(self, trainer: BaseTrainer, file: Path) -> None:
        buffer = io.BytesIO()
        torch.save(trainer.state(), buffer)
        write_file(file, buffer.getvalue())

    def _claim_folder(self) -> None:
        file = self.folder / "ablation.json"
        # As JSON returns it: without tuples.
        ours = json.loads(json.dumps(self.identity))
        if not file.exists():
            write_file(file, json.dumps(ours, indent=2).encode())
            return
        theirs = json.loads(file.read_text())
        changed = [name for name in ours if ours[name] != theirs.get(name)]
        if changed:
            raise TrainingError(
                f"{self.folder} holds an ablation with another {', another '.join(changed)} (see "
                "ablation.json): give the same settings to resume it, or another folder for a new one"
            )


class Experiment(BaseExperiment):
    """Variants on backbones that are trained first, once for each seed, by classification.

    Args:
        folder: Folder of all files.
        backbone: "conv4" or "resnet12".
        data: Photos to train on.
        validation: Photos and episodes to evaluate on.
        config: Training settings; their seed is replaced by that of each run.
        device: Device to train on.
        report: Receives the progress.
        save_interval: Seconds between two saved states.

    Raises:
        TrainingError: The folder holds an ablation of something else, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        backbone: str,
        data: TrainingData,
        validation: Validation,
        config: TrainingConfig,
        device: torch.device,
        report: ProgressCallback,
        save_interval: float = 60.0,
    ) -> None:
        self.backbone, self.data, self.config, self.device = backbone, data, config, device
        identity = {
            "backbone": backbone,
            "preprocessing": validation.preprocessing.mode,
            "training": describe_training(config),
            "data": dict(data.record),
            "evaluated_pixels_sha256": hash_evaluation(validation),
        }
        super().__init__(folder, identity, validation, report, save_interval)

    def _make_trainer(self, variant: str, seed: int) -> Trainer:
        torch.manual_seed(seed)
        network = VARIANTS[variant].build(NetworkConfig(self.backbone)).to(self.device)
        return Trainer(network, self.data.groups, dataclasses.replace(self.config, seed=seed))

    def _begin_episodes(self, trainer: BaseTrainer, seed: int) -> None:
        load_common(trainer.network, self._pretrain(seed))
        trainer.step = trainer.config.pretrain_steps

    def _pretrain(self, seed: int) -> Mapping[str, torch.Tensor]:
        """Return the weights of `full` after classification alone."""
        trainer = self._make_trainer(FULL, seed)
        state = self._read_state(seed, "pretrained")
        if state is not None:
            trainer.restore(state)
        file = self._state_file(seed, "pretrained")
        self._run_trainer(trainer, trainer.config.pretrain_steps, f"seed {seed}, backbone", file)
        return trainer.network.state_dict()


def load_common(network: HMDRN, weights: Mapping[str, torch.Tensor]) -> None:
    """Take over the weights that a variant shares with `full`: transformers start alike too."""
    own = network.state_dict()
    network.load_state_dict({name: weights.get(name, value) for name, value in own.items()})


def describe_training(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings of a training without the seed."""
    settings = dataclasses.asdict(config)
    del settings["seed"]
    return settings


def write_file(file: Path, data: bytes) -> None:
    """Replace a file of an ablation atomically.

    Raises:
        TrainingError: It cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    except OSError as error:
        raise TrainingError(f"cannot write to {file.parent}: {describe_os_error(error)}") from error


def hash_evaluation(validation: Validation) -> str:
    """Return the SHA-256 over groups, class names and prepared pixels of all evaluation photos."""
    total = hashlib.sha256()
    for name, classes in validation.groups.items():
        for label, photos in classes.items():
            total.update(json.dumps([name, label, len(photos)]).encode())
            for photo in photos:
                total.update(photo.prepare(validation.preprocessing).tobytes())
    return total.hexdigest()


def _with_seed(setting: EpisodeSetting, seed: int) -> EpisodeSetting:
    """Return the setting with a seed, so that the episodes of different seeds are independent."""
    return dataclasses.replace(setting, seed=seed)
