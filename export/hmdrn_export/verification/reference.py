"""Reference of a verification: the network in torch, reconstruction in float64."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.transformer import MaskedTransformer

NEAR = 1e-5
"""A mask score this close to its threshold, relatively, may fall on either side by rounding."""
_BATCH = 7


@dataclass(frozen=True, eq=False)
class Reference:
    """Photos as the network sees them, arrays by level.

    Attributes:
        heads: The network in float64.
        support: Tokens of the unmasked branch, float32 (N, tokens, channels).
        query: Tokens of the masked branch, likewise.
        bits: Mask bits, bool (N, layers, heads, tokens).
        near: True for bits near their threshold, likewise.
    """

    heads: HMDRN
    support: dict[LevelName, Tensor]
    query: dict[LevelName, Tensor]
    bits: dict[LevelName, npt.NDArray[np.bool_]]
    near: dict[LevelName, npt.NDArray[np.bool_]]

    @torch.inference_mode()
    def distances(
        self, support: list[list[int]], queries: list[int]
    ) -> tuple[dict[LevelName, npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
        """Return distances by level, and logits, each (queries, classes), reconstructed in float64.

        Args:
            support: Photos of each class.
            queries: Query photos.
        """
        query = {name: tokens[queries].double() for name, tokens in self.query.items()}
        # Class by class: their shots differ, and padding is one of the things to verify.
        parts = [
            self.heads.distances(
                query, {n: t[photos].double().flatten(0, 1)[None] for n, t in self.support.items()}
            )
            for photos in support
        ]
        distances = {name: torch.cat([part[name] for part in parts], dim=1) for name in query}
        return {name: d.numpy() for name, d in distances.items()}, self.heads.fusion(distances).numpy()


@torch.inference_mode()
def compute_reference(network: HMDRN, photos: npt.NDArray[np.uint8]) -> Reference:
    """Run the network on photos, uint8 (N, S, S, 3)."""
    batches = [network.features(images) for images in torch.split(torch.from_numpy(photos), _BATCH)]
    reference = Reference(copy.deepcopy(network).double(), {}, {}, {}, {})
    for name in network.config.levels:
        transformer = cast(MaskedTransformer, network.transformers[name])
        feature_map = torch.cat([batch[name] for batch in batches])
        reference.support[name] = transformer(feature_map, masked=False)
        reference.query[name], bits, margins = transformer.explain(feature_map, masked=True)
        reference.bits[name] = torch.stack(bits, dim=1).numpy()
        reference.near[name] = (torch.stack(margins, dim=1).abs() < NEAR).numpy()
    return reference
