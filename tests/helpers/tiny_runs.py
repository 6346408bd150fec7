"""Tiny trainings that the tests of trainer and run share."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import torch

from hmdrn_network.checkpoints import ModelCard
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.base_trainer import Progress
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.photos import PhotoGroup
from hmdrn_network.training.trainer import Trainer

CONFIG = TrainingConfig(
    pretrain_steps=2,
    pretrain_batch=4,
    pretrain_learning_rate=0.02,
    episodes=2,
    way=2,
    max_shot=2,
    queries=1,
    learning_rate=0.01,
    warmup=2,
    amp=False,
    seed=5,
)
CARD = ModelCard("tiny", recipe={"seed": 5})


def changed(**settings: Any) -> TrainingConfig:
    return dataclasses.replace(CONFIG, **settings)


def group(*sizes: int, name: str = "birds", side: int = 88, seed: int = 0) -> PhotoGroup:
    """Photos of noise, `sizes` of them by class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (sum(sizes), side, side, 3), dtype=torch.uint8, generator=generator)
    return PhotoGroup(name, images, torch.arange(sum(sizes)).split(list(sizes)))


BIRDS = group(4, 3, 5)


def trainer(
    config: TrainingConfig = CONFIG,
    groups: tuple[PhotoGroup, ...] = (BIRDS,),
    network: NetworkConfig | None = None,
    seed: int = CONFIG.seed,
) -> Trainer:
    torch.manual_seed(seed)
    return Trainer(HMDRN(network or NetworkConfig()), groups, config)


def losses(steps: Iterator[Progress]) -> list[float]:
    return [progress.loss for progress in steps]


def assert_equal_weights(a: HMDRN, b: HMDRN) -> None:
    """Every weight, statistic and counter, bit for bit."""
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)
