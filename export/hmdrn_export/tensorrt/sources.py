"""Graphs that a bundle's engines may be built from, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hmdrn_export.tensorrt.versions import CompilerFeatures
from hmdrn_runtime.bundle.manifest import Graph, Manifest
from hmdrn_runtime.bundle.variants import FLOAT32_OPSET17
from hmdrn_runtime.errors import BackendError

_PREFERRED = ("int8-trt", "fp16", "fp32", FLOAT32_OPSET17)
"""Variants to build, best first: a bundle is exported at a lower precision in order to use it."""


@dataclass(frozen=True)
class EngineSource:
    """Graphs to build engines from, and the way in which their precision is set.

    Attributes:
        variant: The variant of the graphs.
        precision: Precision of the engines, "fp32", "fp16" or "int8".
        strongly_typed: The graphs' types are those of the engines. Otherwise flags allow lower precision, and
            half engines come from the float32 graphs.
    """

    variant: str
    precision: str
    strongly_typed: bool

    @property
    def half_by_flags(self) -> bool:
        """True if float32 graphs become half by flags, with types as in the half graphs."""
        return self.precision == "fp16" and not self.strongly_typed

    @property
    def typing(self) -> str:
        """Return "strongly typed" or "weakly typed"."""
        return "strongly typed" if self.strongly_typed else "weakly typed"


def list_sources(
    manifest: Manifest, features: CompilerFeatures, version: str, accelerator: bool = False
) -> list[EngineSource]:
    """List the sources of engines, the lowest precision first, and each strongly typed first.

    For an accelerator only those of the lowest precision are listed, because it does not compute in float32;
    and weakly typed first: a layer that it does not take at its type runs on the GPU without a message.

    Raises:
        BackendError: The compiler cannot read the operators of any variant.
    """
    readable = [
        name
        for name in _PREFERRED
        if name in manifest.variants and _find_opset(manifest.variants[name]) <= features.newest_opset
    ]
    if not readable:
        raise BackendError(
            f"{features.module} {version} reads ONNX opset {features.newest_opset}, the bundle has "
            f"{_find_opset(manifest.variants['fp32'])}: export it again with hmdrn-export --opset 17, update "
            "to TensorRT 10 (JetPack 6.1), or use ONNX Runtime"
        )
    typings = [True] * features.strong_typing + [False] * features.precision_flags
    if accelerator:
        readable, typings = readable[:1], typings[::-1]
    elif "fp32" in readable:
        readable = readable[: readable.index("fp32") + 1]  # the same numbers in older operators
    return [_make_source(manifest, variant, typing) for variant in readable for typing in typings]


def list_float32_nodes(manifest: Manifest) -> frozenset[str]:
    """List the nodes that stay float32 in the half graphs, for compilers that take precision from flags."""
    rules = manifest.precision_rules["fp16"]
    return frozenset(name for rule in rules if rule["precision"] == "fp32" for name in rule.get("nodes", ()))


def _make_source(manifest: Manifest, variant: str, strongly_typed: bool) -> EngineSource:
    precisions = {graph.precision for graph in manifest.variants[variant].values()}
    precision = next((p for p in ("int8", "fp16") if p in precisions), "fp32")
    source = EngineSource(variant, precision, strongly_typed)
    return EngineSource("fp32", precision, False) if source.half_by_flags else source


def _find_opset(graphs: Mapping[str, Graph]) -> int:
    return max(graph.opset for graph in graphs.values())
