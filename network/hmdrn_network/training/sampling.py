"""Draws of photos for a step; they depend on its random generator alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hmdrn_network.training.photos import PhotoGroup


@dataclass(frozen=True)
class EpisodeBatch:
    """One N-way K-shot episode.

    Attributes:
        images: RGB uint8 (way * shot + Q, S, S, 3): the support photos by class, then the query photos.
        way: Number of classes.
        shot: Support photos of a class.
        targets: Class of each query within the episode, 0 to way - 1, (Q,).
    """

    images: Tensor
    way: int
    shot: int
    targets: Tensor


def draw_batch(groups: Sequence[PhotoGroup], size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw photos: groups by their number of photos, within a group all classes alike.

    Returns:
        RGB uint8 (N, S, S, 3), and the class of each photo among those of all groups, (N,).
    """
    sizes = [sum(len(c) for c in g.classes) for g in groups]
    photos, targets, first = [], [], 0
    for group, count in zip(groups, rng.multinomial(size, np.array(sizes) / sum(sizes)), strict=True):
        for c in rng.integers(len(group.classes), size=count):
            members = group.classes[c]
            photos.append(group.images[members[int(rng.integers(len(members)))]])
            targets.append(first + int(c))
        first += len(group.classes)
    return torch.stack(photos), torch.tensor(targets)


def draw_episode(
    groups: Sequence[PhotoGroup], way: int, max_shot: int, queries: int, rng: np.random.Generator
) -> EpisodeBatch:
    """Draw an episode of one group, groups by their number of classes, with 1 to `max_shot` shots.

    Classes without a photo to spare for a query are left out; a class gives at most `queries` of them.
    """
    weights = np.array([len(g.classes) for g in groups], dtype=float)
    group = groups[int(rng.choice(len(groups), p=weights / weights.sum()))]
    shot = int(rng.integers(1, max_shot + 1))
    usable = [c for c in group.classes if len(c) > shot]
    way = min(way, len(usable))
    support, query, targets = [], [], []
    for label, c in enumerate(rng.choice(len(usable), size=way, replace=False)):
        drawn = rng.permutation(len(usable[c]))[: shot + queries]
        photos = group.images[usable[c][torch.from_numpy(drawn)]]
        support.append(photos[:shot])
        query.append(photos[shot:])
        targets += [label] * (len(photos) - shot)
    return EpisodeBatch(torch.cat(support + query), way, shot, torch.tensor(targets))
