"""Draws from cached groups; what a step draws depends on its random generator alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from hmdrn_network.training.distillation.cache import CachedGroup
from hmdrn_network.training.distillation.config import DistillationConfig


@dataclass(frozen=True)
class CachedBatch:
    """Maps of photos with their classes and teacher features.

    Attributes:
        maps: Output of the frozen stages, float32 (N, channels, h, w).
        targets: Class of each photo among those of all groups, (N,).
        features: The teacher's centered features of each photo, by teacher (M, F).
        rows: Rows of the batch that those features belong to, by teacher (M,).
        mirrored: True for photos whose maps are mirrored, bool (N,).
        guidance: The guide's summaries of the views, not mirrored, float32 (N, F); None without a guide, and
            for photos that are classified.
    """

    maps: Tensor
    targets: Tensor
    features: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]
    mirrored: Tensor
    guidance: Tensor | None = None


@dataclass(frozen=True)
class CachedEpisode:
    """An episode: the support photos by class, then the queries.

    Attributes:
        batch: All its photos.
        way: Number of classes.
        shot: Support photos of a class.
        targets: Class of each query within the episode, (Q,).
    """

    batch: CachedBatch
    way: int
    shot: int
    targets: Tensor


class Sampler:
    """Draws batches and episodes from cached groups.

    Args:
        groups: The groups.
        config: Settings.
        merged: Groups whose classes of the same name are one class, e.g. two sets of birds.
    """

    def __init__(
        self, groups: Sequence[CachedGroup], config: DistillationConfig, merged: Iterable[str] = ()
    ) -> None:
        self.groups, self.config = groups, config
        self.targets = merge_classes(groups, set(merged))
        self.class_count = 1 + max(int(t.max()) for t in self.targets)
        self.centers = _teacher_centers(groups)
        self._neighbors = [_neighbors(group, self.centers) for group in groups]
        factors = np.array([config.group_weights.get(g.name, 1.0) for g in groups])
        photos = np.array([sum(map(len, g.classes)) for g in groups])
        classes = np.array([len(g.classes) for g in groups]) ** config.class_power
        self._photo_shares = factors * photos / (factors * photos).sum()
        classes = classes * [
            config.episode_weights.get(g.name, factor) for g, factor in zip(groups, factors, strict=True)
        ]
        self._episode_shares = classes / classes.sum()

    def draw_batch(self, rng: np.random.Generator) -> CachedBatch:
        """Draw photos of all groups: groups by their photos, within a group its classes alike."""
        rows = []
        counts = rng.multinomial(self.config.pretrain_batch, self._photo_shares)
        for number, (group, count) in enumerate(zip(self.groups, counts, strict=True)):
            for c in rng.integers(len(group.classes), size=count):
                rows.append((number, int(c), int(rng.choice(group.classes[c]))))
        return self._load(rows, rng)

    def draw_episode(self, rng: np.random.Generator) -> CachedEpisode:
        """Draw an episode of one group; classes without a photo to spare for a query are left out."""
        config = self.config
        number = int(rng.choice(len(self.groups), p=self._episode_shares))
        group = self.groups[number]
        sizes = np.array([len(rows) for rows in group.classes])
        shot = int(rng.integers(1, min(config.max_shot, int(np.sort(sizes)[-2]) - 1) + 1))
        usable = np.flatnonzero(sizes > shot)
        way = min(config.way, len(usable))
        chosen = self._choose_classes(number, usable, way, rng)
        support: list[tuple[int, int, int]] = []
        query: list[tuple[int, int, int]] = []
        targets: list[int] = []
        for label, c in enumerate(chosen):
            rows = rng.permutation(group.classes[c])[: shot + config.queries]
            support += [(number, int(c), int(row)) for row in rows[:shot]]
            query += [(number, int(c), int(row)) for row in rows[shot:]]
            targets += [label] * (len(rows) - shot)
        batch = self._load(support + query, rng, guided=self.groups[number].guidance is not None)
        return CachedEpisode(batch, way, shot, torch.tensor(targets))

    def _choose_classes(
        self, number: int, usable: npt.NDArray[np.int64], way: int, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        neighbors = self._neighbors[number]
        if neighbors is None or rng.random() >= self.config.hard_share:
            return rng.choice(usable, size=way, replace=False)
        order = neighbors[int(rng.choice(usable))]
        near = order[np.isin(order, usable)][: 2 * way]
        return rng.choice(near, size=way, replace=False)

    def _load(
        self, rows: Sequence[tuple[int, int, int]], rng: np.random.Generator, guided: bool = False
    ) -> CachedBatch:
        maps: list[Tensor] = []
        features: dict[str, list[Tensor]] = {}
        places: dict[str, list[int]] = {}
        mirrored: list[bool] = []
        guidance: list[Tensor] = []
        for place, (number, _, row) in enumerate(rows):
            group = self.groups[number]
            view = int(rng.integers(len(group.maps)))
            array = torch.from_numpy(np.array(group.maps[view][row]))
            # Mirrored maps are not quite the maps of mirrored photos; as an augmentation they serve.
            mirrored.append(self.config.flip and rng.random() < 0.5)
            maps.append(array.flip(1) if mirrored[-1] else array)
            if guided and group.guidance is not None:
                guidance.append(torch.from_numpy(np.array(group.guidance[row, view])))
            if view < len(group.features):
                row_features = torch.from_numpy(np.array(group.features[view][row])).float()
                features.setdefault(group.teacher, []).append(row_features - self.centers[group.teacher])
                places.setdefault(group.teacher, []).append(place)
        return CachedBatch(
            torch.stack(maps).permute(0, 3, 1, 2).float(),
            torch.tensor([int(self.targets[number][c]) for number, c, _ in rows]),
            {teacher: torch.stack(values) for teacher, values in features.items()},
            {teacher: torch.tensor(values) for teacher, values in places.items()},
            torch.tensor(mirrored),
            torch.stack(guidance).float() if guidance else None,
        )


def merge_classes(groups: Sequence[CachedGroup], merged: set[str]) -> list[npt.NDArray[np.int64]]:
    """Number the classes of all groups; those of `merged` groups share a number where names agree.

    Names agree if their letters do: "047.American_Goldfinch" and "AMERICAN GOLDFINCH".
    """
    numbers: dict[tuple[str, str], int] = {}
    targets = []
    for group in groups:
        keys = [
            ("", re.sub(r"[^a-z]", "", label.lower())) if group.name in merged else (group.name, label)
            for label in group.labels
        ]
        targets.append(np.array([numbers.setdefault(key, len(numbers)) for key in keys]))
    return targets


def _teacher_centers(groups: Sequence[CachedGroup]) -> dict[str, Tensor]:
    """Mean features of each teacher over all photos of the first view."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for group in groups:
        if group.features:
            values = np.asarray(group.features[0], np.float32)
            sums[group.teacher] = sums.get(group.teacher, 0) + torch.from_numpy(values.sum(axis=0))
            counts[group.teacher] = counts.get(group.teacher, 0) + len(values)
    return {teacher: total / counts[teacher] for teacher, total in sums.items()}


def _neighbors(group: CachedGroup, centers: Mapping[str, Tensor]) -> npt.NDArray[np.int64] | None:
    """For each class all classes by similarity of the teacher's mean features, or None without a teacher."""
    if not group.features:
        return None
    values = torch.from_numpy(np.asarray(group.features[0], np.float32)) - centers[group.teacher]
    values = F.normalize(values, dim=1)
    means = F.normalize(
        torch.stack([values[torch.from_numpy(rows)].mean(dim=0) for rows in group.classes]), dim=1
    )
    return (means @ means.T).argsort(dim=1, descending=True).numpy()
