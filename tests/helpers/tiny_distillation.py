"""A distillation of seconds: a random Lite0 at 32 pixels, two groups of cached maps, one teacher."""

from __future__ import annotations

import numpy as np
import torch

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.distillation.cache import CachedGroup, rows_by_class
from hmdrn_network.training.distillation.config import DistillationConfig
from hmdrn_network.training.distillation.sampling import Sampler
from hmdrn_network.training.distillation.trainer import DistillationTrainer
from hmdrn_network.training.workers import Workers

CONFIG = DistillationConfig(
    pretrain_steps=3, pretrain_batch=8, episodes=3, way=3, max_shot=2, queries=2, warmup=1, validate_every=3
)
NETWORK = NetworkConfig("efficientnet-lite0", side=32, projection={"high": 16, "mid": 8})


def cached_group(name: str, classes: int, photos: int, teacher: str = "", seed: int = 0) -> CachedGroup:
    """Two views of 40 x 4 x 4 maps; photos of a class are alike; the first view has teacher features."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), photos)
    centers = rng.normal(size=(classes, 4, 4, 40))
    maps = [
        (centers[targets] + 0.3 * rng.normal(size=(len(targets), 4, 4, 40))).astype(np.float16)
        for _ in range(2)
    ]
    directions = rng.normal(size=(classes, 12))
    features = [(directions[targets] + 0.1 * rng.normal(size=(len(targets), 12))).astype(np.float16)]
    labels = tuple(f"{name} {i}" for i in range(classes))
    rows = rows_by_class(targets, classes)
    return CachedGroup(name, labels, rows, maps, features if teacher else (), teacher)


def groups() -> list[CachedGroup]:
    return [cached_group("birds", 6, 5, "birds.v1"), cached_group("cars", 4, 4, seed=1)]


def student() -> HMDRN:
    torch.manual_seed(0)
    return HMDRN(NETWORK)


def trainer(config: DistillationConfig = CONFIG, guide: HMDRN | None = None) -> DistillationTrainer:
    return DistillationTrainer(student(), Sampler(groups(), config), config, Workers(), guide)
