"""Trace jobs of a network: modules, their example inputs, and the graphs to cut out of each trace.

Everything that takes photos is traced once, as one module, and cut into graphs afterwards: `classify`,
`encode`, `enroll` and `explain` then consist of the same nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hmdrn_export.graphs.modules import AttentionPhotos, RidgePhotos, RidgeSolve
from hmdrn_network.hmdrn import HMDRN


@dataclass(frozen=True)
class Subgraph:
    """One graph of a bundle within a trace: its inputs, and its outputs as {name in the trace: name}."""

    inputs: tuple[str, ...]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class TraceJob:
    """One module to trace, and the graphs to cut out of it.

    Attributes:
        module: Takes the inputs in order, returns the outputs in order.
        inputs: Example inputs by name; no dynamic size may be 0 or 1, which a trace would freeze.
        outputs: Names of the outputs.
        dynamic: For each input, the name of every axis whose size is free.
        graphs: The graphs by name.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, Mapping[int, str]]
    graphs: Mapping[str, Subgraph]


def make_trace_jobs(network: HMDRN) -> list[TraceJob]:
    """Return the jobs for a network's bundle."""
    levels = network.config.levels
    distances = (*(f"distance_{level}" for level in levels), "logits")
    explained = tuple(f"{kind}_{level}" for level in levels for kind in ("query_tokens", "mask"))
    images = torch.zeros(2, network.config.side, network.config.side, 3, dtype=torch.uint8)
    if network.config.head == "ridge":
        return [_ridge_photos(network, images, distances, explained), _ridge_solve(network)]
    explained += tuple(f"{kind}_{level}" for level in levels for kind in ("query_q", "query_v"))
    return [_attention_photos(network, images, distances, explained)]


def _subgraph(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Subgraph:
    return Subgraph(inputs, {name: name for name in outputs})


def _ridge_photos(
    network: HMDRN, images: Tensor, distances: tuple[str, ...], explained: tuple[str, ...]
) -> TraceJob:
    P = sum(level.packed for level in network.config.level_specs)
    tokens = ("support_tokens", "query_tokens") if network.config.keeps_tokens() else ()
    statistics = ("support_gram", "query_gram", *tokens)
    return TraceJob(
        RidgePhotos(network),
        {"images": images, "operator": torch.zeros(3, P)},
        (*statistics, *distances, *explained),
        {"images": {0: "batch"}, "operator": {0: "classes"}},
        {
            "enroll": _subgraph(("images",), statistics),
            "classify": _subgraph(("images", "operator"), distances),
            "encode": _subgraph(("images",), ("query_gram",)),
            "explain": _subgraph(("images",), explained),
        },
    )


def _ridge_solve(network: HMDRN) -> TraceJob:
    P = sum(level.packed for level in network.config.level_specs)
    outputs = ("operator", "residual")
    return TraceJob(
        RidgeSolve(network),
        {"gram": torch.zeros(2, P), "shots": torch.ones(2)},
        outputs,
        {"gram": {0: "classes"}, "shots": {0: "classes"}},
        {"solve": _subgraph(("gram", "shots"), outputs)},
    )


def _attention_photos(
    network: HMDRN, images: Tensor, distances: tuple[str, ...], explained: tuple[str, ...]
) -> TraceJob:
    inputs: dict[str, Tensor] = {"images": images}
    dynamic: dict[str, Mapping[int, str]] = {"images": {0: "batch"}}
    for level in network.config.level_specs:
        for kind in ("k", "v"):
            inputs[f"{kind}_{level.name}"] = torch.zeros(3, 2 * level.tokens, level.channels)
        inputs[f"valid_{level.name}"] = torch.ones(3, 2 * level.tokens, dtype=torch.bool)
        for kind in ("k", "v", "valid"):
            dynamic[f"{kind}_{level.name}"] = {0: "classes", 1: f"tokens_{level.name}"}
    # In the trace the classes' keys are inputs and the photos' are outputs: one name cannot serve both.
    keys_values = {f"photo_{k}_{name}": f"{k}_{name}" for name in network.config.levels for k in ("k", "v")}
    return TraceJob(
        AttentionPhotos(network),
        inputs,
        (*keys_values, *distances, *explained),
        dynamic,
        {
            "enroll": Subgraph(("images",), keys_values),
            "classify": _subgraph(tuple(inputs), distances),
            "explain": _subgraph(("images",), explained),
        },
    )
