"""Training and evaluating every variant from every seed, in a folder that a later call goes on in.

FOLDER/ablation.json              what the folder is an ablation of
FOLDER/cache/                     decoded photographs
FOLDER/seed-0/pretrained.pt       the trainer's state before the episodes, once for all variants
FOLDER/seed-0/<variant>.pt        the trainer's state within the episodes, or after them
FOLDER/seed-0/<variant>.json      accuracy of every episode of evaluation; where it is, the variant is done
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.ablation.variants import FULL, VARIANTS
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.scoring import NetworkScorer
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.data import TrainingData
from hmdrn_network.training.process import keep_freed_memory
from hmdrn_network.training.run import read_state
from hmdrn_network.training.trainer import Progress, Trainer
from hmdrn_network.training.validation import Validation
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.evaluation.evaluation import Setting, evaluate
from hmdrn_runtime.io.files import reason, write_atomically

Report = Callable[[str, int, int], None]
Outcome = list[dict[str, Any]]
"""Of one variant from one seed: {"group", "way", "shot", "queries", "accuracies"}, accuracies 0-1."""


class Experiment:
    """The variants on the same photographs, from the same backbones, by the same episodes.

    Args:
        folder: Where everything is kept.
        backbone: "conv4" or "resnet12".
        data: Photographs to train on.
        validation: Photographs and episodes to evaluate on.
        config: Settings of training; the seed in them is replaced by each one's own.
        device: Where to train.
        report: Told of the progress.
        every: Seconds between two saved states.

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
        report: Report,
        every: float = 60.0,
    ) -> None:
        self.folder, self.backbone, self.data, self.validation = folder, backbone, data, validation
        self.config, self.device, self.report, self.every = config, device, report, every
        training = dataclasses.asdict(config)
        del training["seed"]
        self.identity: dict[str, Any] = {
            "backbone": backbone,
            "preprocessing": validation.preprocessing,
            "training": training,
            "evaluation": {
                # Without its seed, which is that of the training.
                name: [[s.way, s.shot, s.queries, s.episodes] for s in settings]
                for name, settings in validation.settings.items()
            },
            "data": dict(data.record),
            "evaluated_pixels_sha256": digest_of_evaluation(validation),
        }
        self._claim_folder()

    def outcome(self, variant: str, seed: int) -> Outcome:
        """Accuracies of a variant: read where they are known, else after training and evaluating it."""
        file = self.folder / f"seed-{seed}" / f"{variant}.json"
        if file.exists():
            found: Outcome = json.loads(file.read_text())
            return found
        network = self.trained(variant, seed)
        found = []
        for name, classes in self.validation.groups.items():
            scorer = NetworkScorer(network.eval(), self.validation.preprocessing)
            settings = [_of_seed(setting, seed) for setting in self.validation.settings[name]]
            for one in evaluate(scorer, classes, settings, self._titled(f"seed {seed}, {variant}, {name}: ")):
                found.append(
                    {
                        "group": name,
                        "way": one.setting.way,
                        "shot": one.setting.shot,
                        "queries": one.setting.queries,
                        "accuracies": one.episode_accuracies.tolist(),
                    }
                )
        write(file, json.dumps(found).encode())
        return found

    def trained(self, variant: str, seed: int) -> HMDRN:
        """A variant after its episodes."""
        trainer = self._trainer(variant, seed)
        state = self._state(seed, variant)
        if state is None:
            common = self._pretrained(seed)
            # Transformers that both have start alike too, not only the backbone.
            own = trainer.network.state_dict()
            trainer.network.load_state_dict({name: common.get(name, value) for name, value in own.items()})
            trainer.step = trainer.config.pretrain_steps
        else:
            trainer.restore(state)
        self._train(trainer, trainer.steps, f"seed {seed}, {variant}", self._state_file(seed, variant))
        return trainer.network

    def _pretrained(self, seed: int) -> Mapping[str, torch.Tensor]:
        """Weights of `full` after classification alone."""
        trainer = self._trainer(FULL, seed)
        state = self._state(seed, "pretrained")
        if state is not None:
            trainer.restore(state)
        file = self._state_file(seed, "pretrained")
        self._train(trainer, trainer.config.pretrain_steps, f"seed {seed}, backbone", file)
        return trainer.network.state_dict()

    def _trainer(self, variant: str, seed: int) -> Trainer:
        torch.manual_seed(seed)
        network = VARIANTS[variant].build(self.backbone).to(self.device)
        return Trainer(network, self.data.groups, dataclasses.replace(self.config, seed=seed))

    def _train(self, trainer: Trainer, until: int, title: str, file: Path) -> None:
        """Train to a step, saving every so often and at the end: what is stopped loses no more than that."""
        if trainer.device.type == "cpu":
            keep_freed_memory()
        saved = time.monotonic()
        for progress in trainer.run(until):
            self._show(progress, title)
            if trainer.step == until or time.monotonic() - saved > self.every:
                self._save(trainer, file)
                saved = time.monotonic()

    def _show(self, progress: Progress, title: str) -> None:
        text = (
            f"{title}: {progress.phase}, loss {progress.loss:.2f}, accuracy {100 * progress.accuracy:.0f} %"
        )
        self.report(text, progress.step, progress.steps)

    def _titled(self, title: str) -> Report:
        return lambda what, done, of: self.report(title + what, done, of)

    def _state_file(self, seed: int, name: str) -> Path:
        return self.folder / f"seed-{seed}" / f"{name}.pt"

    def _state(self, seed: int, name: str) -> dict[str, Any] | None:
        path = self._state_file(seed, name)
        return read_state(path) if path.exists() else None

    def _save(self, trainer: Trainer, file: Path) -> None:
        buffer = io.BytesIO()
        torch.save(trainer.state(), buffer)
        write(file, buffer.getvalue())

    def _claim_folder(self) -> None:
        file = self.folder / "ablation.json"
        # As JSON gives it back: without tuples.
        ours = json.loads(json.dumps(self.identity))
        if not file.exists():
            write(file, json.dumps(ours, indent=2).encode())
            return
        theirs = json.loads(file.read_text())
        changed = [name for name in ours if ours[name] != theirs.get(name)]
        if changed:
            raise TrainingError(
                f"{self.folder} holds an ablation with another {', another '.join(changed)} (see "
                "ablation.json): give the same to go on, or another folder for a new one"
            )


def write(file: Path, data: bytes) -> None:
    """Replace a file of an ablation atomically.

    Raises:
        TrainingError: It cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    except OSError as error:
        raise TrainingError(f"cannot write to {file.parent}: {reason(error)}") from error


def digest_of_evaluation(validation: Validation) -> str:
    """SHA-256 over groups, class names and the prepared pixels of all photographs that are evaluated on."""
    total = hashlib.sha256()
    for name, classes in validation.groups.items():
        for label, photos in classes.items():
            total.update(json.dumps([name, label, len(photos)]).encode())
            for photo in photos:
                total.update(photo.prepare(validation.preprocessing).tobytes())
    return total.hexdigest()


def _of_seed(setting: Setting, seed: int) -> Setting:
    """Other episodes for another seed: differences over several seeds then are of independent episodes."""
    return dataclasses.replace(setting, seed=seed)
