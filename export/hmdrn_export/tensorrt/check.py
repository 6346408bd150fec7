"""Check of a bundle with NVIDIA's compiler: it takes the graphs, and computes in the precision of the rules.

Two views: the parser's network, node by node, with the types that it inferred; and the layers of the compiled
engine, where nodes are fused, with the types that they read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from hmdrn_export.precision.rules import find_rule
from hmdrn_export.tensorrt.builder import BuildOptions, BuiltEngine, build_engine
from hmdrn_export.tensorrt.layers import EngineLayer
from hmdrn_export.tensorrt.profiles import ShapeBounds, default_bounds, profile_shapes
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError, ExportError
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

TARGETS = ("SM80", "SM86", "SM89", "SM120", "SM121")
"""GPUs to compile for, Ampere to Blackwell. The compiler does not offer Orin (SM87) and Hopper (SM90)."""

_PRODUCTS = ("Conv", "MatMul", "Gemm")
_ENGINE_TYPES = {"fp32": "Float", "fp16": "Half"}
_NETWORK_TYPES = {"fp32": "FLOAT", "fp16": "HALF"}
_REAL = {*_ENGINE_TYPES.values(), *_NETWORK_TYPES.values()}
_NODE_OF_LAYER = re.compile(r"(?P<node>.*)_U\d+_myl\d+_\d+$")


@dataclass(frozen=True)
class GraphCheck:
    """Result for one graph.

    Attributes:
        variant: Variant of the graph.
        graph: Name of the graph.
        nodes: Nodes whose types were compared with the rules.
        layers: Layers of the engine.
        half_products: Convolutions and matrix products, fused ones too, that read half.
        float_products: Those that read float32.
        int8_products: Those that read 8-bit numbers.
        seconds: Duration of parsing and compiling.
        problems: Deviations from the rules, in words; empty if there are none.
    """

    variant: str
    graph: str
    nodes: int
    layers: int
    half_products: int
    float_products: int
    int8_products: int
    seconds: float
    problems: tuple[str, ...]


def check_bundle(
    trt: Any,
    bundle: Bundle,
    targets: tuple[str, ...] = TARGETS,
    bounds: ShapeBounds | None = None,
    report: ProgressCallback = ignore_progress,
) -> list[GraphCheck]:
    """Compile every graph of a bundle's variant with `trt`, a module that works ahead of time.

    Graphs in another variant's files are left to that variant.
    """
    graphs = bundle.manifest.variants[bundle.variant]
    names = [name for name, graph in graphs.items() if f"/{bundle.variant}/" in graph.file]
    bounds = bounds or default_bounds(bundle.manifest.network)
    checks = []
    for done, name in enumerate(names):
        report(f"compiling {bundle.variant}/{name}", done, len(names))
        checks.append(_check_graph(trt, bundle, name, targets, bounds))
    return checks


def _check_graph(
    trt: Any, bundle: Bundle, name: str, targets: tuple[str, ...], bounds: ShapeBounds
) -> GraphCheck:
    graph, path = bundle.graph(name), bundle.graph_path(name)
    model = onnx.load(path, load_external_data=False)
    expected = derive_precisions(model, graph.precision)
    float32_layers = bundle.manifest.calibration.get("kept", ())
    quantized = (
        find_quantized_products(model, float32_layers) if graph.precision == "int8" else frozenset[str]()
    )
    sizes = profile_shapes(name, graph, bundle.manifest.network.levels, bounds)
    try:
        engine = build_engine(trt, path, sizes, BuildOptions(targets=targets))
    except BackendError as error:
        return GraphCheck(bundle.variant, name, len(expected), 0, 0, 0, 0, 0.0, (str(error),))
    half, single, integer = (
        sum(kind in kernel.inputs for kernel in _list_products(engine)) for kind in ("Half", "Float", "Int8")
    )
    return GraphCheck(
        variant=bundle.variant,
        graph=name,
        nodes=len(expected),
        layers=len(engine.layers),
        half_products=half,
        float_products=single,
        int8_products=integer,
        seconds=round(engine.seconds, 2),
        problems=(
            *_find_network_problems(expected, engine),
            *_find_engine_problems(expected, quantized, engine),
        ),
    )


def derive_precisions(model: onnx.ModelProto, precision: str) -> dict[str, str]:
    """Return the precision of every node that computes, by its name: from the rules alone, not its types."""
    expected: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ("Cast", "QuantizeLinear", "DequantizeLinear"):
            continue
        if precision != "fp16":  # Q/DQ surrounds nodes that the graph has in float32
            expected[node.name] = "fp32"
            continue
        try:
            rule = find_rule(node)
        except ExportError:  # counts and indices, which no rule covers
            continue
        if rule is not None:
            expected[node.name] = rule.precision
    return expected


def find_quantized_products(model: onnx.ModelProto, float32_layers: Collection[str]) -> frozenset[str]:
    """Return the convolutions and linear layers that must compute on 8-bit numbers.

    Args:
        model: An INT8 graph; the weights are 8-bit, or float32 in the layers that stay so.
        float32_layers: Layers that accuracy needs in float32, by the path of their weight in the network.
    """
    weights = {weight.name: weight.name for weight in model.graph.initializer if len(weight.dims) > 1}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            weights[node.output[0]] = node.input[0]
    return frozenset(
        node.name
        for node in model.graph.node
        if node.op_type in ("Conv", "MatMul")
        and node.input[1] in weights
        and weights[node.input[1]].split(".weight")[0] not in float32_layers
    )


def _list_products(engine: BuiltEngine) -> list[EngineLayer]:
    return [kernel for kernel in engine.layers if kernel.is_product]


def _find_node(kernel: EngineLayer) -> str | None:
    """Return the node that a layer is named after, if any."""
    match = _NODE_OF_LAYER.match(kernel.name)
    return match["node"] if match else None


def _find_network_problems(expected: Mapping[str, str], engine: BuiltEngine) -> Iterator[str]:
    """Find nodes whose types in the parser's network deviate from the rules."""
    seen = 0
    for name, precision in expected.items():
        read = {t for t in engine.node_types.get(name, ()) if t in _REAL}
        seen += name in engine.node_types
        if read - {_NETWORK_TYPES[precision]}:
            yield f"{name} reads {', '.join(sorted(read))}, not {_NETWORK_TYPES[precision]} alone"
    if 2 * seen < len(expected):
        yield f"the parser's network has {seen} of {len(expected)} nodes by their names: nothing is proved"


def _find_engine_problems(
    expected: Mapping[str, str], quantized: Collection[str], engine: BuiltEngine
) -> Iterator[str]:
    """Find layers of the engine whose precision deviates from the rules."""
    if not engine.layers:
        yield "the compiler lists no layers: nothing is proved"
    products = {name: p for name, p in expected.items() if name.rpartition("/")[2].startswith(_PRODUCTS)}
    if quantized:
        yield from _find_integer_problems(quantized, len(products) - len(quantized), engine)
    if "fp16" in expected.values():
        yield from _find_half_problems(products, engine)
    else:
        for kernel in engine.layers:
            if "Half" in kernel.inputs:
                yield f"layer {kernel.name} reads Half in a float32 graph"


def _find_integer_problems(quantized: Collection[str], others: int, engine: BuiltEngine) -> Iterator[str]:
    """Find quantized layers that do not compute on 8-bit numbers."""
    singles = 0
    for kernel in _list_products(engine):
        singles += "Int8" not in kernel.inputs
        if _find_node(kernel) in quantized and set(kernel.inputs) != {"Int8"}:
            yield f"layer {kernel.name} reads {', '.join(sorted(set(kernel.inputs)))}, not Int8 alone"
    if singles > others:
        yield f"{singles} products do not read Int8, and {others} are not quantized"


def _find_half_problems(products: Mapping[str, str], engine: BuiltEngine) -> Iterator[str]:
    """Find products of a half graph whose precision deviates from the rules."""
    singles = 0
    for kernel in _list_products(engine):
        read = set(kernel.inputs) & _REAL
        singles += "Float" in read
        precision = products.get(_find_node(kernel) or "")
        if precision is not None and read != {_ENGINE_TYPES[precision]}:
            yield f"layer {kernel.name} reads {', '.join(sorted(read))}, not {_ENGINE_TYPES[precision]} alone"
    # Fused layers do not name all their nodes: no more of them may read float32 than the rules allow.
    allowed = sum(precision == "fp32" for precision in products.values())
    if singles > allowed:
        yield f"{singles} products read Float, and the rules keep {allowed} in float32"
    for kernel in engine.layers:
        if "Gtr" in kernel.name and "Half" in kernel.inputs:
            yield f"layer {kernel.name} compares mask scores that are Half"
