"""The graphs of a bundle as torch modules, ready to be traced.

Everything that looks at photos is traced once, as one module, and cut into graphs afterwards: `classify`,
`encode`, `enroll` and `explain` are then the same nodes. Packed statistics hold the upper triangles of
symmetric matrices row by row, level high before level mid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from hmdrn_runtime.images.preprocessing import INPUT_SIZE


@dataclass(frozen=True)
class Cut:
    """One graph of a bundle within a trace: its inputs, and its outputs as {name in the trace: name}."""

    inputs: tuple[str, ...]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Trace:
    """One module to trace, and the graphs to cut out of it.

    Attributes:
        module: Takes the inputs in order, returns the outputs in order.
        inputs: Example inputs by name; no dynamic size may be 0 or 1, which a trace would freeze.
        outputs: Names of the outputs.
        dynamic: For each input, the name of every axis whose size is free.
        cuts: The graphs by name.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, Mapping[int, str]]
    cuts: Mapping[str, Cut]


def traces(network: HMDRN) -> list[Trace]:
    """What to trace for a network's bundle, by the kind of its head."""
    return _ridge_traces(network) if network.config.head == "ridge" else [_attention_trace(network)]


class _PackedGram(nn.Module):
    """A module of its own, so that the graph's nodes are named after it."""

    def forward(self, tokens: Tensor) -> Tensor:
        return pack(gram(tokens))


class _LevelSolve(nn.Module):
    """The solve of one level."""

    def __init__(self, level: Level, head: RidgeHead) -> None:
        super().__init__()
        self.level, self.head = level, head

    def forward(self, packed: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.level.channels
        identity = torch.eye(channels)
        lam, rho = self.head.regularisation(shots * self.level.tokens)[:, None, None], self.head.beta.exp()
        shrinkage, residual = newton_schulz(unpack(packed, channels), lam)
        W = (1 - rho) * identity + rho * shrinkage
        # W W' and not W W: Newton-Schulz leaves X with errors on its right side, X (I + E), which this
        # product keeps small in the directions that are reconstructed well. The off-diagonals are doubled
        # here, once a class, so that matching is a plain inner product.
        return pack(W @ W.transpose(-2, -1)) * doubled_off_diagonals(channels), residual


class Solve(nn.Module):
    """Ridge: a class's summed Gram matrix to its operator."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__()
        levels = network.config.level_specs
        self.sizes = [level.packed for level in levels]
        self.solve = nn.ModuleDict(
            {v.name: _LevelSolve(v, cast(RidgeHead, network.heads[v.name])) for v in levels}
        )

    def forward(self, gram: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
        """Sums (C, P) and shots, float32 (C,), to operators (C, P) and the solves' residuals (C,)."""
        parts = torch.split(gram, self.sizes, dim=1)
        solved = [solve(part, shots) for solve, part in zip(self.solve.values(), parts, strict=True)]
        operators, residuals = zip(*solved, strict=True)
        return torch.cat(operators, dim=1), torch.stack(residuals).amax(dim=0)


class _Photos(nn.Module):
    """What both kinds of heads do with photos: tokens of both branches, and what the mask did."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__()
        self.network = network
        self.names = network.config.levels

    def look(self, images: Tensor) -> tuple[dict[LevelName, Tensor], dict[LevelName, Tensor], list[Tensor]]:
        """Support tokens, query tokens, and `explain`'s outputs: query tokens and mask bits of each level."""
        maps = self.network.features(images)
        support = self.network.transform(maps, masked=False)
        query: dict[LevelName, Tensor] = {}
        explained: list[Tensor] = []
        for name in self.names:
            transformer = cast(MaskedTransformer, self.network.transformers[name])
            query[name], bits, _ = transformer.explain(maps[name], masked=True)
            explained += [query[name], torch.stack(bits, dim=1)]
        return support, query, explained


class RidgePhotos(_Photos):
    """Ridge: statistics of photos, and their distances to classes given by operators."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__(network)
        self.gram = nn.ModuleDict({name: _PackedGram() for name in self.names})
        self.sizes = [level.packed for level in network.config.level_specs]

    def forward(self, images: Tensor, operator: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 84, 84, 3) and operators (C, P) to the outputs that `_ridge_traces` names."""
        support, query, explained = self.look(images)
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
        """Distances, and the query's q and v, which the error of each location follows from."""
        query_q, _, query_v = self.head.project(tokens)
        return self.head.distances(query_q, query_v, k, v, valid), (query_q, query_v)


class AttentionPhotos(_Photos):
    """Attention: keys and values of photos, and distances to classes given by padded keys and values."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__(network)
        heads = {name: cast(AttentionHead, network.heads[name]) for name in self.names}
        self.reconstruction = nn.ModuleDict({name: _Reconstruction(head) for name, head in heads.items()})

    def forward(self, images: Tensor, *classes: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 84, 84, 3); k, v (C, n, d), valid (C, n) by level, to what `_attention_trace` names."""
        support, query, explained = self.look(images)
        heads = {name: cast(AttentionHead, self.network.heads[name]) for name in self.names}
        keys_values = [part for name in self.names for part in heads[name].project(support[name])[1:]]
        distances: dict[LevelName, Tensor] = {}
        for i, name in enumerate(self.names):
            distances[name], projected = self.reconstruction[name](query[name], *classes[3 * i : 3 * i + 3])
            explained += projected
        return (*keys_values, *distances.values(), self.network.fusion(distances), *explained)


def _images() -> Tensor:
    return torch.zeros(2, INPUT_SIZE, INPUT_SIZE, 3, dtype=torch.uint8)


def _cut(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Cut:
    return Cut(inputs, {name: name for name in outputs})


def _distances(network: HMDRN) -> tuple[str, ...]:
    return (*(f"distance_{name}" for name in network.config.levels), "logits")


def _explained(network: HMDRN) -> tuple[str, ...]:
    levels = network.config.levels
    names = [f"{kind}_{level}" for level in levels for kind in ("query_tokens", "mask")]
    if network.config.head == "attention":
        names += [f"{kind}_{level}" for level in levels for kind in ("query_q", "query_v")]
    return tuple(names)


def _ridge_traces(network: HMDRN) -> list[Trace]:
    P = sum(level.packed for level in network.config.level_specs)
    tokens = ("support_tokens", "query_tokens") if network.config.keeps_tokens() else ()
    statistics = ("support_gram", "query_gram", *tokens)
    photos = Trace(
        RidgePhotos(network),
        {"images": _images(), "operator": torch.zeros(3, P)},
        (*statistics, *_distances(network), *_explained(network)),
        {"images": {0: "batch"}, "operator": {0: "classes"}},
        {
            "enroll": _cut(("images",), statistics),
            "classify": _cut(("images", "operator"), _distances(network)),
            "encode": _cut(("images",), ("query_gram",)),
            "explain": _cut(("images",), _explained(network)),
        },
    )
    solve = Trace(
        Solve(network),
        {"gram": torch.zeros(2, P), "shots": torch.ones(2)},
        ("operator", "residual"),
        {"gram": {0: "classes"}, "shots": {0: "classes"}},
        {"solve": _cut(("gram", "shots"), ("operator", "residual"))},
    )
    return [photos, solve]


def _attention_trace(network: HMDRN) -> Trace:
    inputs: dict[str, Tensor] = {"images": _images()}
    dynamic: dict[str, Mapping[int, str]] = {"images": {0: "batch"}}
    for level in network.config.level_specs:
        for kind in ("k", "v"):
            inputs[f"{kind}_{level.name}"] = torch.zeros(3, 2 * level.tokens, level.channels)
        inputs[f"valid_{level.name}"] = torch.ones(3, 2 * level.tokens, dtype=torch.bool)
        for kind in ("k", "v", "valid"):
            dynamic[f"{kind}_{level.name}"] = {0: "classes", 1: f"tokens_{level.name}"}
    keys_values = tuple(f"{kind}_{name}" for name in network.config.levels for kind in ("k", "v"))
    # In the trace the classes' keys are inputs and the photos' are outputs: one name cannot serve both.
    enrolled = {f"photo_{name}": name for name in keys_values}
    return Trace(
        AttentionPhotos(network),
        inputs,
        (*enrolled, *_distances(network), *_explained(network)),
        dynamic,
        {
            "enroll": Cut(("images",), enrolled),
            "classify": _cut(tuple(inputs), _distances(network)),
            "explain": _cut(("images",), _explained(network)),
        },
    )
