"""Does NVIDIA's compiler take a bundle's graphs, and does it compute where the table of rules says?

Two looks: at the network that the parser made, node by node, with the types that it found; and at the layers
of the compiled engine, where nodes are fused, with the types that they read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import onnx

from hmdrn_export.precision.rules import rule_of
from hmdrn_export.tensorrt.builder import BuildOptions, Engine, build_engine
from hmdrn_export.tensorrt.layers import EngineLayer
from hmdrn_export.tensorrt.profiles import Bounds, default_bounds, shapes
from hmdrn_export.tensorrt.progress import Progress
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError, ExportError

TARGETS = ("SM80", "SM86", "SM89", "SM120", "SM121")
"""GPUs that are compiled for, Ampere to Blackwell. Orin (SM87) and Hopper (SM90) are not on offer here."""

_PRODUCTS = ("Conv", "MatMul", "Gemm")
_ENGINE_TYPES = {"fp32": "Float", "fp16": "Half"}
_NETWORK_TYPES = {"fp32": "FLOAT", "fp16": "HALF"}
_REAL = {*_ENGINE_TYPES.values(), *_NETWORK_TYPES.values()}
_NAMED_AFTER = re.compile(r"(?P<node>.*)_U\d+_myl\d+_\d+$")


@dataclass(frozen=True)
class GraphCheck:
    """What the compiler made of one graph.

    Attributes:
        variant: The graph's variant.
        graph: Its name.
        nodes: Nodes whose types were compared with the rules.
        layers: Layers of the engine.
        half_products: Convolutions and matrix products, fused ones too, that read half.
        float_products: Those that read float32.
        int8_products: Those that read 8-bit numbers.
        seconds: How long parsing and compiling took.
        problems: What is not as it should be, in words; empty if all is well.
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

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


def check_bundle(
    trt: Any,
    bundle: Bundle,
    targets: tuple[str, ...] = TARGETS,
    bounds: Bounds | None = None,
    report: Progress = lambda what, done, of: None,
) -> list[GraphCheck]:
    """Compile every graph of a bundle's variant in use.

    Args:
        trt: NVIDIA's compiler, a module that works ahead of time.
        bundle: The bundle; graphs that are of another variant's files are left to that variant.
        targets: GPUs to compile for.
        bounds: Sizes to compile for.
        report: Told of the progress.
    """
    graphs = bundle.manifest.variants[bundle.variant]
    names = [name for name, graph in graphs.items() if f"/{bundle.variant}/" in graph.file]
    checks = []
    for done, name in enumerate(names):
        report(f"compiling {bundle.variant}/{name}", done, len(names))
        sizes = bounds or default_bounds(bundle.manifest.network)
        checks.append(_check_graph(trt, bundle, name, targets, sizes))
    return checks


def _check_graph(trt: Any, bundle: Bundle, name: str, targets: tuple[str, ...], bounds: Bounds) -> GraphCheck:
    graph, path = bundle.graph(name), bundle.graph_path(name)
    model = onnx.load(path, load_external_data=False)
    expected = expected_precisions(model, graph.precision)
    kept = bundle.manifest.calibration.get("kept", ())
    quantised = quantised_products(model, kept) if graph.precision == "int8" else frozenset[str]()
    sizes = shapes(name, graph, bundle.manifest.network.levels, bounds)
    try:
        engine = build_engine(trt, path, sizes, BuildOptions(targets=targets))
    except BackendError as error:
        return GraphCheck(bundle.variant, name, len(expected), 0, 0, 0, 0, 0.0, (str(error),))
    half, single, integer = (
        sum(kind in kernel.inputs for kernel in _products(engine)) for kind in ("Half", "Float", "Int8")
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
        problems=(*_network_problems(expected, engine), *_engine_problems(expected, quantised, engine)),
    )


def expected_precisions(model: onnx.ModelProto, precision: str) -> dict[str, str]:
    """The precision of every node that computes, by its name: by the rules alone, whatever its types say."""
    expected: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ("Cast", "QuantizeLinear", "DequantizeLinear"):
            continue
        if precision != "fp16":  # Q/DQ is around nodes that the graph has in float32
            expected[node.name] = "fp32"
            continue
        try:
            rule = rule_of(node)
        except ExportError:  # counts and indices, which no rule is for
            continue
        if rule is not None:
            expected[node.name] = rule.precision
    return expected


def quantised_products(model: onnx.ModelProto, kept: Collection[str]) -> frozenset[str]:
    """Nodes that are to compute on 8-bit numbers: convolutions and linear layers, whatever is around them.

    Args:
        model: An INT8 graph; its weights are 8-bit, or float32 where a layer was kept.
        kept: Layers that accuracy needs in float32, by the path of their weight in the network.
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
        and weights[node.input[1]].split(".weight")[0] not in kept
    )


def _products(engine: Engine) -> list[EngineLayer]:
    return [kernel for kernel in engine.layers if kernel.is_product]


def _network_problems(expected: Mapping[str, str], engine: Engine) -> Iterator[str]:
    """Nodes that the parser typed otherwise than the rules have it."""
    seen = 0
    for name, precision in expected.items():
        read = {t for t in engine.node_types.get(name, ()) if t in _REAL}
        seen += name in engine.node_types
        if read - {_NETWORK_TYPES[precision]}:
            yield f"{name} reads {', '.join(sorted(read))}, not {_NETWORK_TYPES[precision]} alone"
    if 2 * seen < len(expected):
        yield f"the parser's network has {seen} of {len(expected)} nodes by their names: nothing is proved"


def _engine_problems(
    expected: Mapping[str, str], quantised: Collection[str], engine: Engine
) -> Iterator[str]:
    """Layers of the engine that compute in another precision than the rules have it."""
    if not engine.layers:
        yield "the compiler lists no layers: nothing is proved"
    products = {name: p for name, p in expected.items() if name.rpartition("/")[2].startswith(_PRODUCTS)}
    yield from _integer_problems(quantised, len(products) - len(quantised), engine)
    if "fp16" not in expected.values():
        for kernel in engine.layers:
            if "Half" in kernel.inputs:
                yield f"layer {kernel.name} reads Half in a float32 graph"
        return
    yield from _half_problems(products, engine)


def _integer_problems(quantised: Collection[str], others: int, engine: Engine) -> Iterator[str]:
    """Quantised layers that do not compute on 8-bit numbers."""
    if not quantised:
        return
    for kernel in _products(engine):
        named = _NAMED_AFTER.match(kernel.name)
        if named and named["node"] in quantised and set(kernel.inputs) != {"Int8"}:
            yield f"layer {kernel.name} reads {', '.join(sorted(set(kernel.inputs)))}, not Int8 alone"
    singles = sum("Int8" not in kernel.inputs for kernel in _products(engine))
    if singles > others:
        yield f"{singles} products do not read Int8, and {others} are not quantised"


def _half_problems(products: Mapping[str, str], engine: Engine) -> Iterator[str]:
    """Products of a half graph that compute in another precision than the rules have it."""
    singles = 0
    for kernel in _products(engine):
        read = set(kernel.inputs) & _REAL
        singles += "Float" in read
        named = _NAMED_AFTER.match(kernel.name)
        precision = products.get(named["node"]) if named else None
        if precision is not None and read != {_ENGINE_TYPES[precision]}:
            yield f"layer {kernel.name} reads {', '.join(sorted(read))}, not {_ENGINE_TYPES[precision]} alone"
    # Fused layers do not say what they are of: there must be no more in float32 than the rules allow.
    allowed = sum(precision == "fp32" for precision in products.values())
    if singles > allowed:
        yield f"{singles} products read Float, and the rules keep {allowed} in float32"
    for kernel in engine.layers:
        if "Gtr" in kernel.name and "Half" in kernel.inputs:
            yield f"layer {kernel.name} compares mask scores that are Half"
