"""The graphs of a bundle as torch modules, ready to be traced.

Packed statistics hold the upper triangles of symmetric matrices row by row, level high before level mid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_export.solve import newton_schulz
from hmdrn_network import HMDRN
from hmdrn_network.attention import AttentionHead
from hmdrn_network.config import LevelName
from hmdrn_network.ridge import RidgeHead, doubled_off_diagonals, gram, pack, unpack
from hmdrn_network.transformer import MaskedTransformer
from hmdrn_runtime.images import INPUT_SIZE
from hmdrn_runtime.manifest import Level


@dataclass(frozen=True)
class GraphSpec:
    """One graph to trace.

    Attributes:
        name: The graph's name in the bundle.
        module: Takes the inputs in order, returns the outputs in order.
        inputs: Example inputs by name; no dynamic size may be 0 or 1, which a trace would freeze.
        outputs: Names of the outputs.
        dynamic: For each input, the name of every axis whose size is free.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, Mapping[int, str]]


def graph_specs(network: HMDRN) -> list[GraphSpec]:
    """The graphs of a network's bundle, by the kind of its head."""
    return _ridge_specs(network) if network.config.head == "ridge" else _attention_specs(network)


class _PackedGram(nn.Module):
    """A module of its own, so that the graph's nodes are named after it."""

    def forward(self, tokens: Tensor) -> Tensor:
        return pack(gram(tokens))


class _Encoder(nn.Module):
    """Part of every graph that looks at images."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__()
        self.network = network
        self.gram = nn.ModuleDict({name: _PackedGram() for name in network.config.levels})

    @property
    def names(self) -> tuple[LevelName, ...]:
        return self.network.config.levels

    def packed_gram(self, tokens: Mapping[LevelName, Tensor]) -> Tensor:
        return torch.cat([self.gram[name](tokens[name]) for name in self.names], dim=1)


class Enroll(_Encoder):
    """Ridge: statistics of every photo, as support and as query."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 84, 84, 3) to packed Gram matrices (N, P), twice; wide backbones add their tokens."""
        maps = self.network.features(images)
        support, query = self.network.transform(maps, masked=False), self.network.transform(maps, masked=True)
        grams = (self.packed_gram(support), self.packed_gram(query))
        if not self.network.config.keeps_tokens():
            return grams
        flat = (torch.cat([kind[name].flatten(1) for name in self.names], dim=1) for kind in (support, query))
        return (*grams, *flat)


class _LevelSolve(nn.Module):
    """The solve of one level."""

    def __init__(self, level: Level, head: RidgeHead) -> None:
        super().__init__()
        self.level, self.head = level, head

    def forward(self, packed: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.level.channels
        identity = torch.eye(channels)
        lam, rho = self.head.regularisation(shots * self.level.tokens)[:, None, None], self.head.beta.exp()
        inverse, residual = newton_schulz(unpack(packed, channels) + lam * identity, lam)
        W = (1 - rho) * identity + rho * lam * inverse
        # The off-diagonals are doubled here, once a class, so that matching is a plain inner product.
        return pack(W @ W) * doubled_off_diagonals(channels), residual


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


class Encode(_Encoder):
    """Ridge: query statistics alone, for galleries that are matched outside the graph."""

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 84, 84, 3) to packed Gram matrices of the query tokens (B, P)."""
        return self.packed_gram(self.network.encode(images, masked=True))


class Classify(_Encoder):
    """Ridge: distances of photos to classes given by their operators."""

    def forward(self, images: Tensor, operator: Tensor) -> tuple[Tensor, ...]:
        """uint8 (B, 84, 84, 3) and operators (C, P) to distances by level and logits, each (B, C)."""
        tokens = self.network.encode(images, masked=True)
        sizes = [level.packed for level in self.network.config.level_specs]
        distances: dict[LevelName, Tensor] = {}
        for i, name in enumerate(self.names):
            # Zeros in place of the other level: cutting the operators instead would copy all of them
            # for every frame.
            padded = F.pad(self.gram[name](tokens[name]), (sum(sizes[:i]), sum(sizes[i + 1 :])))
            distances[name] = F.linear(padded, operator)
        return (*distances.values(), self.network.fusion(distances))


class AttentionEnroll(_Encoder):
    """Attention: keys and values of every photo's support tokens."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 84, 84, 3) to k and v (N, T, d) of every level."""
        support = self.network.encode(images, masked=False)
        return tuple(
            part for name in self.names for part in _attention(self.network, name).project(support[name])[1:]
        )


class _Reconstruction(nn.Module):
    """Attention's reconstruction at one level."""

    def __init__(self, head: AttentionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor, k: Tensor, v: Tensor, valid: Tensor) -> Tensor:
        query_q, _, query_v = self.head.project(tokens)
        return self.head.distances(query_q, query_v, k, v, valid)


class AttentionClassify(_Encoder):
    """Attention: distances of photos to classes given by padded keys and values."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__(network)
        self.reconstruction = nn.ModuleDict({n: _Reconstruction(_attention(network, n)) for n in self.names})

    def forward(self, images: Tensor, *classes: Tensor) -> tuple[Tensor, ...]:
        """uint8 (B, 84, 84, 3); k, v (C, n, d) and valid (C, n) by level: distances and logits (B, C)."""
        query = self.network.encode(images, masked=True)
        distances: dict[LevelName, Tensor] = {
            name: self.reconstruction[name](query[name], *classes[3 * i : 3 * i + 3])
            for i, name in enumerate(self.names)
        }
        return (*distances.values(), self.network.fusion(distances))


class Explain(_Encoder):
    """What the network sees in a query photo."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 (B, 84, 84, 3) to query tokens (B, T, d) and mask bits (B, layers, heads, T) by level."""
        maps = self.network.features(images)
        outputs: list[Tensor] = []
        for name in self.names:
            transformer = cast(MaskedTransformer, self.network.transformers[name])
            tokens, bits, _ = transformer.explain(maps[name], masked=True)
            outputs += [tokens, torch.stack(bits, dim=1)]
        return tuple(outputs)


def _attention(network: HMDRN, name: LevelName) -> AttentionHead:
    return cast(AttentionHead, network.heads[name])


def _images() -> Tensor:
    return torch.zeros(2, INPUT_SIZE, INPUT_SIZE, 3, dtype=torch.uint8)


def _distance_names(network: HMDRN) -> tuple[str, ...]:
    return (*(f"distance_{name}" for name in network.config.levels), "logits")


def _explain_spec(network: HMDRN) -> GraphSpec:
    outputs = tuple(f"{kind}_{name}" for name in network.config.levels for kind in ("query_tokens", "mask"))
    return GraphSpec("explain", Explain(network), {"images": _images()}, outputs, {"images": {0: "batch"}})


def _ridge_specs(network: HMDRN) -> list[GraphSpec]:
    P = sum(level.packed for level in network.config.level_specs)
    tokens = ("support_tokens", "query_tokens") if network.config.keeps_tokens() else ()
    enroll_outputs = ("support_gram", "query_gram", *tokens)
    solve_inputs = {"gram": torch.zeros(2, P), "shots": torch.ones(2)}
    return [
        GraphSpec(
            "enroll", Enroll(network), {"images": _images()}, enroll_outputs, {"images": {0: "photos"}}
        ),
        GraphSpec(
            "solve",
            Solve(network),
            solve_inputs,
            ("operator", "residual"),
            {"gram": {0: "classes"}, "shots": {0: "classes"}},
        ),
        GraphSpec(
            "classify",
            Classify(network),
            {"images": _images(), "operator": torch.zeros(3, P)},
            _distance_names(network),
            {"images": {0: "batch"}, "operator": {0: "classes"}},
        ),
        GraphSpec(
            "encode", Encode(network), {"images": _images()}, ("query_gram",), {"images": {0: "batch"}}
        ),
        _explain_spec(network),
    ]


def _attention_specs(network: HMDRN) -> list[GraphSpec]:
    classes: dict[str, Tensor] = {}
    dynamic: dict[str, Mapping[int, str]] = {"images": {0: "batch"}}
    for level in network.config.level_specs:
        for kind in ("k", "v"):
            classes[f"{kind}_{level.name}"] = torch.zeros(3, 2 * level.tokens, level.channels)
        classes[f"valid_{level.name}"] = torch.ones(3, 2 * level.tokens, dtype=torch.bool)
        for kind in ("k", "v", "valid"):
            dynamic[f"{kind}_{level.name}"] = {0: "classes", 1: f"tokens_{level.name}"}
    enroll_outputs = tuple(f"{kind}_{name}" for name in network.config.levels for kind in ("k", "v"))
    return [
        GraphSpec(
            "enroll",
            AttentionEnroll(network),
            {"images": _images()},
            enroll_outputs,
            {"images": {0: "photos"}},
        ),
        GraphSpec(
            "classify",
            AttentionClassify(network),
            {"images": _images(), **classes},
            _distance_names(network),
            dynamic,
        ),
        _explain_spec(network),
    ]
