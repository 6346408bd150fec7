"""Episodic accuracy on cached maps of classes that are not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.scoring import NetworkScorer
from hmdrn_network.training.validation import QUERIES, WAY, BaseValidation, PreparedInput
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting


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
        """Add photos by their maps (N, h, w, channels)."""
        maps = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        self.add_maps(self.network.project(self.network.backbone(maps, self.start)))


class CachedValidation(BaseValidation):
    """Episodic accuracy on cached maps by group; the same episodes every time.

    Args:
        groups: Maps by class, by the group's name; at least five classes each.
        start: First stage behind the cached ones.
        shots: Numbers of support photos; a group with fewer photos has one less than those of a class.
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
            name: {label: [PreparedInput(m) for m in maps] for label, maps in classes.items()}
            for name, classes in groups.items()
        }
        self.settings: dict[str, list[EpisodeSetting]] = {}
        for name, classes in groups.items():
            size = sorted((len(maps) for maps in classes.values()), reverse=True)[WAY - 1]
            self.settings[name] = [
                EpisodeSetting(WAY, shot, min(QUERIES, size - shot), episodes)
                for shot in sorted({min(shot, size - 1) for shot in shots})
            ]

    def make_scorer(self, network: HMDRN) -> NetworkScorer:
        """As `BaseValidation.make_scorer`."""
        return MapScorer(network, self.start)
