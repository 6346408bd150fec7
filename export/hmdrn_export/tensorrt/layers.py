"""Layers that a compiler made of a graph, with the types that they read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LAYER = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: (?P<inputs>.*?), Constants: ")
_TYPE = re.compile(r"Datatype: (\w+)")
_PRODUCT = re.compile(r"gemm|mha|_?Fc[A-Z_]", re.ASCII)


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine.

    Attributes:
        name: The compiler's name for it; it begins with the name of the node that it mostly computes, if any.
        kind: "correlation" is a convolution, "gemm" a matrix product; others are fused kernels.
        inputs: Types that it reads, e.g. "Half".
    """

    name: str
    kind: str
    inputs: tuple[str, ...]

    @property
    def is_product(self) -> bool:
        """True for a convolution, a matrix product, or a fused kernel with one in it."""
        return self.kind in ("correlation", "convolution", "gemm") or bool(_PRODUCT.search(self.name))


def parse_layers(log: Iterable[str]) -> tuple[EngineLayer, ...]:
    """Read the list of layers in a build's log (with ProfilingVerbosity.DETAILED); empty if it has none."""
    listing = next((message for message in log if message.lstrip().startswith("Layers:")), "")
    return tuple(
        EngineLayer(match["name"], match["kind"], tuple(_TYPE.findall(match["inputs"])))
        for match in map(_LAYER.match, listing.splitlines())
        if match
    )
