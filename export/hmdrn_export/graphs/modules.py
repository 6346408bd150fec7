"""Torch modules of a bundle's graphs, ready to be traced.

Packed statistics hold the upper triangles of symmetric matrices row by row, level high before level mid.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_export.graphs.solve import newton_schulz
from hmdrn_network.backbones.base import LevelName
from hmdrn_network.heads.attention import AttentionHead
from hmdrn_network.heads.ridge import RidgeHead, doubled_off_diagonals, gram, pack, unpack
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.transformer import MaskedTransformer
from hmdrn_runtime.bundle.manifest import Level


class _PackedGram(nn.Module):
    """Module of its own, so that the graph's nodes are named after it."""

    def forward(self, tokens: Tensor) -> Tensor:
        return pack(gram(tokens))


class _LevelSolve(nn.Module):
    """Solve of one level."""

    def __init__(self, level: Level, head: RidgeHead) -> None:
        super().__init__()
        self.level, self.head = level, head

    def forward(self, packed: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.level.channels
        identity = torch.eye(channels)
        lam, rho = self.head.regularization(shots * self.level.tokens)[:, None, None], self.head.beta.exp()
        shrinkage, residual = newton_schulz(unpack(packed, channels), lam)
        W = (1 - rho) * identity + rho * shrinkage
        # W W' and not W W: Newton-Schulz leaves X with errors on its right side, X (I + E), which this
        # product keeps small in the directions that are reconstructed well. The off-diagonals are doubled
        # here, once per class, so that matching is a plain inner product.
        return pack(W @ W.transpose(-2, -1)) * doubled_off_diagonals(channels), residual


class RidgeSolve(nn.Module):
    """Ridge: operators of classes, from their summed Gram matrices."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__()
        levels = network.config.level_specs
        self.sizes = [level.packed for level in levels]
        self.solve = nn.ModuleDict(
            {v.name: _LevelSolve(v, cast(RidgeHead, network.heads[v.name])) for v in levels}
        )

    def forward(self, gram: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
        """Map sums (C, P) and shots, float32 (C,), to operators (C, P) and residuals of the solves (C,)."""
        parts = torch.split(gram, self.sizes, dim=1)
        solved = [solve(part, shots) for solve, part in zip(self.solve.values(), parts, strict=True)]
        operators, residuals = zip(*solved, strict=True)
        return torch.cat(operators, dim=1), torch.stack(residuals).amax(dim=0)


class _PhotoModule(nn.Module):
    """Steps that both kinds of heads share: tokens of both branches, and what the mask did."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__()
        self.network = network
        self.names = network.config.levels

    def encode(self, images: Tensor) -> tuple[dict[LevelName, Tensor], dict[LevelName, Tensor], list[Tensor]]:
        """Return support tokens, query tokens, and for `explain` query tokens and mask bits of each level."""
        maps = self.network.features(images)
        support = self.network.transform(maps, masked=False)
        query: dict[LevelName, Tensor] = {}
        explained: list[Tensor] = []
        for name in self.names:
            transformer = cast(MaskedTransformer, self.network.transformers[name])
            query[name], bits, _ = transformer.explain(maps[name], masked=True)
            explained += [query[name], torch.stack(bits, dim=1)]
        return support, query, explained


class RidgePhotos(_PhotoModule):
    """Ridge: statistics of photos, and their distances to classes given by operators."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__(network)
        self.gram = nn.ModuleDict({name: _PackedGram() for name in self.names})
        self.sizes = [level.packed for level in network.config.level_specs]

    def forward(self, images: Tensor, operator: Tensor) -> tuple[Tensor, ...]:
        """Map uint8 (N, S, S, 3) and operators (C, P) to the outputs that the trace job names."""
        support, query, explained = self.encode(images)
        support_grams = [self.gram[name](support[name]) for name in self.names]
        query_grams = [self.gram[name](query[name]) for name in self.names]
        statistics = [torch.cat(support_grams, dim=1), torch.cat(query_grams, dim=1)]
        if self.network.config.keeps_tokens():
            for tokens in (support, query):
                statistics.append(torch.cat([tokens[name].flatten(1) for name in self.names], dim=1))
        distances: dict[LevelName, Tensor] = {}
        for i, name in enumerate(self.names):
            # Zeros in place of the other level: cutting the operators instead would copy all of them
            # for every frame.
            padded = F.pad(query_grams[i], (sum(self.sizes[:i]), sum(self.sizes[i + 1 :])))
            distances[name] = F.linear(padded, operator).relu()
        return (*statistics, *distances.values(), self.network.fusion(distances), *explained)


class _Reconstruction(nn.Module):
    """Attention's reconstruction at one level."""

    def __init__(self, head: AttentionHead) -> None:
        super().__init__()
        self.head = head

    def forward(
        self, tokens: Tensor, k: Tensor, v: Tensor, valid: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return distances, and the query's q and v, from which the error of each location follows."""
        query_q, _, query_v = self.head.project(tokens)
        return self.head.distances(query_q, query_v, k, v, valid), (query_q, query_v)


class AttentionPhotos(_PhotoModule):
    """Attention: keys and values of photos, and distances to classes given by padded keys and values."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__(network)
        heads = {name: cast(AttentionHead, network.heads[name]) for name in self.names}
        self.reconstruction = nn.ModuleDict({name: _Reconstruction(head) for name, head in heads.items()})

    def forward(self, images: Tensor, *classes: Tensor) -> tuple[Tensor, ...]:
        """Map uint8 (N, S, S, 3) and by level k, v (C, n, d), valid (C, n) to the trace job's outputs."""
        support, query, explained = self.encode(images)
        heads = {name: cast(AttentionHead, self.network.heads[name]) for name in self.names}
        keys_values = [part for name in self.names for part in heads[name].project(support[name])[1:]]
        distances: dict[LevelName, Tensor] = {}
        for i, name in enumerate(self.names):
            distances[name], projected = self.reconstruction[name](query[name], *classes[3 * i : 3 * i + 3])
            explained += projected
        return (*keys_values, *distances.values(), self.network.fusion(distances), *explained)
