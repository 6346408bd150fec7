"""Episodic training, with classification over all classes before it."""

from __future__ import annotations

import io
import math
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.augmentation import augment
from hmdrn_network.checkpoints import ModelCard, save_checkpoint
from hmdrn_network.config import LevelName, NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.photo_groups import PhotoGroup
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.files import reason, write_atomically
from hmdrn_runtime.images import INPUT_SIZE


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Attributes:
        pretrain_steps: Steps of classification over all classes before the episodes.
        pretrain_batch: Photos in such a step.
        episodes: Steps of one episode each.
        way: Classes in an episode; fewer where a group has fewer.
        max_shot: Shots are drawn from 1 to this for every episode, so that one model serves them all.
        queries: Query photos of a class in an episode.
        learning_rate: Peak of the episodes' cosine schedule; classification has its own.
        amp: Whether the backbone computes in bfloat16; transformer and heads stay float32.
        seed: Everything random depends on it and on the step's number alone.
    """

    pretrain_steps: int = 0
    pretrain_batch: int = 96
    pretrain_learning_rate: float = 0.1
    episodes: int = 3000
    way: int = 10
    max_shot: int = 5
    queries: int = 6
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    warmup: int = 100
    amp: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("pretrain_batch", "way", "max_shot", "queries", "warmup"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}: it must be 1 or more")


@dataclass(frozen=True)
class Progress:
    """What a step of training reports."""

    phase: str
    step: int
    steps: int
    loss: float
    accuracy: float


class Trainer:
    """Trains a network step by step; its whole state can be saved and restored between any two steps.

    Args:
        network: What to train, in place.
        groups: Photos; an episode takes its classes from one group, groups weighted by their classes.
        config: Settings.

    Raises:
        TrainingError: Groups with fewer than two usable classes.
    """

    def __init__(self, network: HMDRN, groups: Sequence[PhotoGroup], config: TrainingConfig) -> None:
        for group in groups:
            if any(len(c) == 0 for c in group.classes):
                raise TrainingError(f"group {group.name!r} has a class without photos: leave it out")
            small = [i for i, c in enumerate(group.classes) if len(c) < config.max_shot + 1]
            if len(group.classes) - len(small) < 2:
                raise TrainingError(
                    f"group {group.name!r} has fewer than 2 classes with more than {config.max_shot} photos: "
                    "add photos or lower max_shot"
                )
        # Convolutions of channels-last maps are much faster on a CPU, and no slower on a GPU.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self.groups, self.config = groups, config
        if not groups:
            raise TrainingError("no photos to train on: give at least one group")
        classes = sum(len(g.classes) for g in groups)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.classifier = nn.Linear(network.config.level_specs[0].channels, classes)
        self.step = 0
        self.within_step = False
        self.optimiser = self._optimiser()

    @property
    def steps(self) -> int:
        """Steps of the whole run, classification and episodes."""
        return self.config.pretrain_steps + self.config.episodes

    def run(self, until: int | None = None) -> Iterator[Progress]:
        """Train from where it stands to step `until` (the end if None), reporting every step."""
        until = self.steps if until is None else until
        while self.step < until:
            if self.step == self.config.pretrain_steps:
                self.optimiser = self._optimiser()  # the schedule restarts, so must the momentum
            yield self._advance()

    def _optimiser(self) -> torch.optim.Optimizer:
        # Norms, biases and the scalars of the heads are not decayed towards zero.
        named = [*self.network.named_parameters(), *self.classifier.named_parameters()]
        decayed = [p for _, p in named if p.dim() > 1]
        kept = [p for _, p in named if p.dim() <= 1]
        return torch.optim.SGD(
            [
                {"params": decayed, "weight_decay": self.config.weight_decay},
                {"params": kept, "weight_decay": 0.0},
            ],
            lr=0.1,
            momentum=0.9,
            nesterov=True,
        )

    def _advance(self) -> Progress:
        self.within_step = True
        pretraining = self.step < self.config.pretrain_steps
        start, length, peak = (
            (0, self.config.pretrain_steps, self.config.pretrain_learning_rate)
            if pretraining
            else (self.config.pretrain_steps, self.config.episodes, self.config.learning_rate)
        )
        position = self.step - start
        rate = peak * 0.5 * (1 + math.cos(math.pi * position / length))
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate * min(1.0, (position + 1) / self.config.warmup)
        self.network.train()
        rng = np.random.default_rng((self.config.seed, self.step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        torch.manual_seed(int(rng.integers(2**62)))  # DropBlock draws from the global generator
        logits, target = self._classify(rng, generator) if pretraining else self._episode(rng, generator)
        loss = F.cross_entropy(logits, target)
        if not bool(loss.isfinite()):
            raise TrainingError(f"the loss is not finite at step {self.step}: lower the learning rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], 5.0)
        self.optimiser.step()
        self.step += 1
        self.within_step = False
        accuracy = float((logits.argmax(dim=1) == target).float().mean())
        return Progress(
            "classes" if pretraining else "episodes", position + 1, length, float(loss.detach()), accuracy
        )

    def _classify(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Logits and targets of photos drawn from all classes of all groups."""
        sizes = [sum(len(c) for c in g.classes) for g in self.groups]
        photos, targets, first = [], [], 0
        counts = rng.multinomial(self.config.pretrain_batch, np.array(sizes) / sum(sizes))
        for group, count in zip(self.groups, counts, strict=True):
            for c in rng.integers(len(group.classes), size=count):
                members = group.classes[c]
                photos.append(group.images[members[int(rng.integers(len(members)))]])
                targets.append(first + int(c))
            first += len(group.classes)
        maps = self._features(augment(torch.stack(photos), INPUT_SIZE, generator))
        pooled = next(iter(maps.values())).mean(dim=(2, 3))
        return self.classifier(pooled), torch.tensor(targets)

    def _episode(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Logits and targets of one N-way K-shot episode, K drawn from 1 to `max_shot`."""
        config = self.config
        weights = np.array([len(g.classes) for g in self.groups], dtype=float)
        group = self.groups[int(rng.choice(len(self.groups), p=weights / weights.sum()))]
        shot = int(rng.integers(1, config.max_shot + 1))
        usable = [c for c in group.classes if len(c) > shot]
        way = min(config.way, len(usable))
        support, query, targets = [], [], []
        for label, c in enumerate(rng.choice(len(usable), size=way, replace=False)):
            drawn = rng.permutation(len(usable[c]))[: shot + config.queries]
            photos = group.images[usable[c][torch.from_numpy(drawn)]]
            support.append(photos[:shot])
            query.append(photos[shot:])
            targets += [label] * (len(photos) - shot)
        batch = augment(torch.cat(support + query), INPUT_SIZE, generator)
        # One pass for both kinds of photos, so that they share the batch's statistics.
        maps = self._features(batch)
        logits = self.network.match(
            {name: m[: way * shot] for name, m in maps.items()},
            {name: m[way * shot :] for name, m in maps.items()},
            way,
        )
        return logits, torch.tensor(targets)

    def _features(self, images: Tensor) -> dict[LevelName, Tensor]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.config.amp):
            maps = self.network.features(images)
        return {name: m.float() for name, m in maps.items()}

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
        if state["config"] != asdict(self.config):
            raise TrainingError("the saved run has other settings: give the same ones, or start a new run")
        try:
            self.network.load_state_dict(state["network"])
            self.classifier.load_state_dict(state["classifier"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                "the saved run is of another network or of other data: give the same ones, or start a new run"
            ) from error
        self.step = state["step"]


def train(
    network: NetworkConfig,
    groups: Sequence[PhotoGroup],
    config: TrainingConfig,
    folder: Path,
    card: ModelCard,
    report: Callable[[Progress], None] = lambda _: None,
    every: float = 300.0,
) -> HMDRN:
    """Train in a folder that a later call goes on in.

    Args:
        network: What to train.
        groups: Photos to train on.
        config: Settings; they must be those of the run in `folder`, if there is one.
        folder: Holds `state.pt` (to resume) and `model.safetensors` (the checkpoint), written atomically.
        card: Model card of the checkpoint.
        report: Called after every step.
        every: Seconds between two saved states.

    Returns:
        The trained network, in evaluation mode.

    Raises:
        TrainingError: Unusable data or settings, or a folder that cannot be written.
    """
    state_file = folder / "state.pt"
    torch.manual_seed(config.seed)
    trainer = Trainer(HMDRN(network), groups, config)
    if state_file.exists():
        trainer.restore(_read_state(state_file))

    def save() -> None:
        buffer = io.BytesIO()
        torch.save(trainer.state(), buffer)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(state_file, buffer.getvalue())
        except OSError as error:
            raise TrainingError(f"cannot write to {folder}: {reason(error)}") from error
        save_checkpoint(folder / "model.safetensors", trainer.network, card)

    save()  # a folder that cannot be written is found out now, not in an hour
    saved = time.monotonic()
    try:
        with _interrupts_between_steps() as interrupted:
            for progress in trainer.run():
                report(progress)
                if interrupted.is_set():
                    raise KeyboardInterrupt
                if time.monotonic() - saved > every:
                    save()
                    saved = time.monotonic()
    finally:
        # An interrupt leaves a usable checkpoint too; half a step would change the run.
        if not trainer.within_step:
            save()
    return trainer.network.eval()


@contextmanager
def _interrupts_between_steps() -> Iterator[threading.Event]:
    """Ctrl-C sets an event instead of stopping within a step; a second one stops at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}): remove it to start anew"
        ) from error
    return state
