"""Placement of Q/DQ pairs: one calibration, two placements, because the two engines need opposite things.

*int8-ort*, for ONNX Runtime's CPU kernels: uint8 activations and int32 biases. The output of a quantized
operator of the backbone exists in int8 alone, so that convolution, activation, pooling and addition run
without a detour over float32. *int8-trt*, for NVIDIA's compiler: symmetric int8, float32 biases, no pairs on
the outputs of layers, but on the shortcut input of residual additions.

A convolution, depthwise or not, and the ReLU or ReLU6 that alone reads it are one operator with no pair in
between. The projections of the levels are quantized as the backbone is.

In both, weights are symmetric int8 for each output channel, and LayerNorm, softmax, mask scores, Gram
matrices and everything after them stay FP32. The outputs of matrix products are never quantized: the mask is
a step function of one of them.

(onnxruntime.quantization places pairs too, but for all readers of a tensor: the FP32 residual of a
transformer would be rounded with the input of the layer beside it.)
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx

from hmdrn_calibration.quantization.layers import find_layers


@dataclass(frozen=True)
class Dialect:
    """Rules of a placement.

    Attributes:
        variant: Name of the bundle's variant.
        symmetric: Activations are int8 around 0; otherwise uint8.
        quantized_outputs: Outputs of quantized operators of the backbone are quantized too.
        quantized_bias: Biases of convolutions are int32.
    """

    variant: str
    symmetric: bool
    quantized_outputs: bool
    quantized_bias: bool


ORT = Dialect("int8-ort", symmetric=False, quantized_outputs=True, quantized_bias=True)
TRT = Dialect("int8-trt", symmetric=True, quantized_outputs=False, quantized_bias=False)
DIALECTS = (ORT, TRT)

_CLIPPED = ("Clip", "Relu")
"""Activations that the grid of their output clips by itself; ReLU6 is a Clip."""
_ELEMENTWISE = ("Add", "LeakyRelu", "MaxPool", *_CLIPPED)
"""Operators besides convolutions that ONNX Runtime computes on 8-bit tensors."""


@dataclass(frozen=True)
class QuantizedTensor:
    """A tensor that is quantized.

    Attributes:
        readers: Names of the nodes that read it quantized.
        grid_source: The tensor whose grid it has: itself, or for the output of a pooling, its input.
    """

    readers: frozenset[str]
    grid_source: str


@dataclass(frozen=True)
class Placement:
    """The quantized parts of a graph: nodes whose weights are, and tensors by name."""

    layers: frozenset[str]
    tensors: Mapping[str, QuantizedTensor]


def plan_placement(
    graph: onnx.GraphProto, dialect: Dialect, float32_layers: Collection[str] = ()
) -> Placement:
    """Decide what to quantize in an FP32 graph."""
    layers = frozenset(node for node, layer in find_layers(graph).items() if layer not in float32_layers)
    readers: dict[str, set[str]] = defaultdict(set)
    for node in graph.node:
        if node.name in layers:
            readers[node.input[0]].add(node.name)
    grid_sources: dict[str, str] = {}
    if dialect.quantized_outputs:
        _add_outputs(graph, layers, readers, grid_sources)
    else:
        _add_shortcuts(graph, layers, readers)
    tensors = {
        name: QuantizedTensor(frozenset(nodes), grid_sources.get(name, name))
        for name, nodes in readers.items()
    }
    return Placement(layers, tensors)


def list_observed_tensors(graph: onnx.GraphProto) -> set[str]:
    """List the tensors whose ranges any placement may need, whatever layers stay in FP32."""
    return {name for dialect in DIALECTS for name in plan_placement(graph, dialect).tensors}


def _add_outputs(
    graph: onnx.GraphProto,
    layers: Collection[str],
    readers: dict[str, set[str]],
    grid_sources: dict[str, str],
) -> None:
    """Quantize the outputs of quantized operators of the backbone for all their readers."""
    all_readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            all_readers[name].append(node)
    quantized: set[str] = set()
    for node in graph.node:
        operands = node.input[:1] if node.op_type == "Clip" else node.input  # a Clip's bounds are constants
        if not (node.op_type == "Conv" and node.name in layers) and not (
            node.op_type in _ELEMENTWISE and quantized.issuperset(operands)
        ):
            continue
        (output,) = node.output
        quantized.add(output)
        next_operators = [reader.op_type for reader in all_readers[output]]
        if node.op_type not in _CLIPPED and len(next_operators) == 1 and next_operators[0] in _CLIPPED:
            continue  # one operator with its activation: no tensor lies between them
        readers[output].update(reader.name for reader in all_readers[output])
        if node.op_type == "MaxPool":
            grid_sources[output] = grid_sources.get(node.input[0], node.input[0])


def _add_shortcuts(graph: onnx.GraphProto, layers: Collection[str], readers: dict[str, set[str]]) -> None:
    """Quantize the shortcut input of residual additions: the other convolution then absorbs the addition.

    The shortcut is what other nodes read too (MBConv), or else the smaller of two convolutions (ResNet-12).
    """
    kernel_areas = {
        node.output[0]: math.prod(next(a.ints for a in node.attribute if a.name == "kernel_shape"))
        for node in graph.node
        if node.op_type == "Conv" and node.name in layers
    }
    uses = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op_type != "Add":
            continue
        shortcut, main = sorted(node.input, key=lambda name: (-uses[name], kernel_areas.get(name, 0)))
        if main in kernel_areas and (shortcut in kernel_areas or shortcut in readers):
            readers[shortcut].add(node.name)
