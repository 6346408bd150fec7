"""Episodic accuracy on cached maps of classes that are not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.scoring import NetworkScorer
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting, Evaluation, evaluate
from hmdrn_runtime.images.preprocessing import Preprocessing

WAY = 5
QUERIES = 15


@dataclass(frozen=True)
class CachedMap:
    """The map of a photo, in the place of the photo."""

    array: npt.NDArray[np.float16]

    def prepare(self, preprocessing: Preprocessing) -> npt.NDArray[Any]:
        """Return the map (h, w, channels)."""
        return self.array


class MapScorer(NetworkScorer):
    """Scores episodes of cached maps.

    Args:
        network: In evaluation mode.
        start: First stage behind the cached ones.
    """

    def __init__(self, network: HMDRN, start: int) -> None:
        super().__init__(network)
        self.start = start

    @torch.inference_mode()
    def add_photos(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Take in further maps (N, h, w, channels)."""
        maps = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        self.add_maps(self.network.project(self.network.backbone(maps, self.start)))


class CachedValidation:
    """Episodic accuracy by group; the same episodes every time.

    Args:
        groups: Maps by class, by the group's name.
        start: First stage behind the cached ones.
        shots: Numbers of support photos.
        episodes: Episodes for each group and number of shots.
    """

    def __init__(
        self,
        groups: Mapping[str, Mapping[str, Sequence[npt.NDArray[np.float16]]]],
        start: int,
        shots: Sequence[int] = (1, 5),
        episodes: int = 100,
    ) -> None:
        self.start = start
        self.groups = {
            name: {label: [CachedMap(m) for m in maps] for label, maps in classes.items()}
            for name, classes in groups.items()
        }
        self.settings: dict[str, list[EpisodeSetting]] = {}
        for name, classes in self.groups.items():
            size = sorted((len(maps) for maps in classes.values()), reverse=True)[WAY - 1]
            usable = sorted({min(shot, size - 1) for shot in shots})
            self.settings[name] = [
                EpisodeSetting(WAY, shot, min(QUERIES, size - shot), episodes) for shot in usable
            ]

    def measure(self, network: HMDRN) -> dict[str, float]:
        """Return percent by "<group> <way>-way <shot>-shot"; the network is left in evaluation mode."""
        accuracies: dict[str, float] = {}
        for name, settings in self.settings.items():
            for evaluation in self.evaluate(network, name, settings):
                setting = evaluation.setting
                accuracies[f"{name} {setting.way}-way {setting.shot}-shot"] = evaluation.accuracy
        return accuracies

    def evaluate(self, network: HMDRN, name: str, settings: Sequence[EpisodeSetting]) -> list[Evaluation]:
        """Evaluate one group under several settings."""
        return evaluate(MapScorer(network.eval(), self.start), self.groups[name], settings)

    def with_settings(self, name: str, *pairs: tuple[int, int], episodes: int) -> list[EpisodeSetting]:
        """Return settings of a group for pairs of way and shot, with as many queries as its classes allow."""
        sizes = sorted((len(maps) for maps in self.groups[name].values()), reverse=True)
        base = EpisodeSetting(episodes=episodes)
        return [
            replace(base, way=way, shot=shot, queries=min(QUERIES, sizes[way - 1] - shot))
            for way, shot in pairs
        ]
