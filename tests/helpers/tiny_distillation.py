"""A distillation of seconds: a random Lite0 at 32 pixels, two groups of cached maps, one teacher."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.distillation.cache import CachedGroup, rows_by_class
from hmdrn_network.training.distillation.config import DistillationConfig
from hmdrn_network.training.distillation.guide import Guide
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


def random_guide() -> Guide:
    """A guide of the student's kind whose answers are not the student's."""
    network = student()
    torch.manual_seed(5)
    for weight in network.transformers.parameters():
        torch.nn.init.normal_(weight, weight.mean().item(), 0.1)
    # Maps of a random backbone nearly vanish.
    for name, scale in (("high", 2e4), ("mid", 30.0)):
        torch.nn.init.normal_(network.projections[name].conv.weight, 0.0, scale)
    return Guide(network, "guide", {"high": 1, "mid": 2})


def summarize_groups(guide: Guide) -> list[CachedGroup]:
    """The groups with the guide's summaries of their maps."""
    guided = []
    for group in groups():
        maps = torch.stack([torch.from_numpy(view) for view in group.maps], dim=1)
        photos, views = maps.shape[:2]
        with torch.inference_mode():
            x = maps.flatten(0, 1).permute(0, 3, 1, 2).float()
            projected = guide.network.project(guide.network.backbone(x, CONFIG.frozen_stages))
            summaries = guide.summarize(projected).reshape(photos, views, -1)
        guided.append(dataclasses.replace(group, guidance=summaries.half().numpy()))
    return guided


def trainer(config: DistillationConfig = CONFIG, guide: Guide | None = None) -> DistillationTrainer:
    sampler = Sampler(groups() if guide is None else summarize_groups(guide), config)
    return DistillationTrainer(student(), sampler, config, Workers(), guide)
