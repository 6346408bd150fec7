"""A network in torch as a scorer of episodes, for checkpoints as `BundleScorer` for bundles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.evaluation.evaluation import Scorer
from hmdrn_runtime.images.preprocessing import Preprocessing


class NetworkScorer(Scorer):
    """Scores episodes with a network in torch, on the device that it is on.

    Args:
        network: In evaluation mode.
        mode: Preprocessing of whole photos, "crop" or "squash".

    Attributes:
        network: The network.
        device: The device that it is on.
    """

    def __init__(self, network: HMDRN, mode: str = "crop") -> None:
        self.network: HMDRN = network
        self.preprocessing: Preprocessing = Preprocessing(mode, network.config.side)
        self.device: torch.device = next(network.parameters()).device
        self.executor: str = f"torch {torch.__version__}, {self.device.type}"
        self._support: list[dict[LevelName, Tensor]] = []
        self._query: list[dict[LevelName, Tensor]] = []

    @torch.inference_mode()
    def add_photos(self, pixels: npt.NDArray[np.uint8]) -> None:
        """As `Scorer.add_photos`."""
        self.add_maps(self.network.features(torch.from_numpy(pixels).to(self.device)))

    def add_maps(self, maps: Mapping[LevelName, Tensor]) -> None:
        """Add photos by their projected maps, by level (N, d, side, side)."""
        for masked, photos in ((False, self._support), (True, self._query)):
            tokens = self.network.transform(maps, masked)
            count = len(next(iter(tokens.values())))
            photos += [{name: t[i] for name, t in tokens.items()} for i in range(count)]

    @torch.inference_mode()
    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        """As `Scorer.logits`."""
        names = self.network.config.levels
        classes = {
            name: torch.stack([torch.cat([self._support[row][name] for row in rows]) for rows in support])
            for name in names
        }
        queries = {name: torch.stack([self._query[row][name] for row in query]) for name in names}
        logits: npt.NDArray[np.float32] = (
            self.network.fusion(self.network.distances(queries, classes)).cpu().numpy()
        )
        return logits
