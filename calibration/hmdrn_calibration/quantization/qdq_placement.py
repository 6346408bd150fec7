"""Where Q/DQ pairs go: one calibration, two placements, because the two engines want opposite things.

*int8-ort*, for ONNX Runtime's CPU kernels: uint8 activations, int32 biases, and a tensor that a quantised
operator of the backbone makes exists in int8 alone, so that convolution, activation, pooling and addition run
without a detour over float32. *int8-trt*, for NVIDIA's compiler: symmetric int8, biases as they are, nothing
on the outputs of layers, and the shortcut input of residual additions.

In both, weights are symmetric int8 for each output channel, and LayerNorm, softmax, mask scores, Gram
matrices and all that follows them stay FP32. The outputs of matrix products are never quantised: the mask is
a step function of one of them.

(onnxruntime.quantization places pairs too, but for every reader of a tensor at once: the FP32 residual of a
transformer would be rounded with the input of the layer beside it.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from hmdrn_calibration.quantization.layers import layers_of, producers


@dataclass(frozen=True)
class Dialect:
    """A placement.

    Attributes:
        variant: Name of the bundle's variant.
        symmetric: Activations are int8 around 0; else uint8.
        quantised_outputs: What quantised operators of the backbone make is quantised as well.
        quantised_bias: Biases of convolutions are int32.
    """

    variant: str
    symmetric: bool
    quantised_outputs: bool
    quantised_bias: bool


ORT = Dialect("int8-ort", symmetric=False, quantised_outputs=True, quantised_bias=True)
TRT = Dialect("int8-trt", symmetric=True, quantised_outputs=False, quantised_bias=False)
DIALECTS = (ORT, TRT)

_ELEMENTWISE = ("Add", "LeakyRelu", "MaxPool", "Relu")
"""What ONNX Runtime computes on 8-bit tensors, beside convolutions."""


@dataclass(frozen=True)
class Edge:
    """A tensor that is quantised.

    Attributes:
        readers: Names of the nodes that read it quantised.
        grid_of: The tensor whose grid it has: its own name, or for the output of a pooling that of its input.
    """

    readers: frozenset[str]
    grid_of: str


@dataclass(frozen=True)
class Plan:
    """What is quantised in a graph: nodes by their weights, tensors by name."""

    layers: frozenset[str]
    edges: Mapping[str, Edge]


def plan(graph: onnx.GraphProto, dialect: Dialect, kept: Collection[str] = ()) -> Plan:
    """Decide what is quantised.

    Args:
        graph: An FP32 graph.
        dialect: The placement.
        kept: Layers that stay FP32.
    """
    layers = frozenset(node for node, layer in layers_of(graph).items() if layer not in kept)
    readers: dict[str, set[str]] = defaultdict(set)
    for node in graph.node:
        if node.name in layers:
            readers[node.input[0]].add(node.name)
    grids: dict[str, str] = {}
    if dialect.quantised_outputs:
        _add_outputs(graph, layers, readers, grids)
    else:
        _add_shortcuts(graph, layers, readers)
    edges = {name: Edge(frozenset(nodes), grids.get(name, name)) for name, nodes in readers.items()}
    return Plan(layers, edges)


def observed(graph: onnx.GraphProto) -> set[str]:
    """The tensors whose ranges any placement may ask for, whatever layers are kept in FP32."""
    return {name for dialect in DIALECTS for name in plan(graph, dialect).edges}


def _add_outputs(
    graph: onnx.GraphProto, layers: Collection[str], readers: dict[str, set[str]], grids: dict[str, str]
) -> None:
    """Quantise what quantised operators of the backbone make, for whoever reads it."""
    everyone: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            everyone[name].append(node)
    quantised: set[str] = set()
    for node in graph.node:
        if node.op_type == "Conv" and node.name in layers:
            pass
        elif not (node.op_type in _ELEMENTWISE and all(name in quantised for name in node.input)):
            continue
        (made,) = node.output
        quantised.add(made)
        if node.op_type != "Relu" and [reader.op_type for reader in everyone[made]] == ["Relu"]:
            continue  # one operator with its ReLU: there is no tensor between them
        readers[made].update(reader.name for reader in everyone[made])
        if node.op_type == "MaxPool":
            grids[made] = grids.get(node.input[0], node.input[0])


def _add_shortcuts(graph: onnx.GraphProto, layers: Collection[str], readers: dict[str, set[str]]) -> None:
    """Quantise the shortcut input of residual additions: the other convolution then takes in the addition."""
    convolutions = {
        name: node
        for name, node in producers(graph).items()
        if node.op_type == "Conv" and node.name in layers
    }
    for node in graph.node:
        if node.op_type == "Add" and all(name in convolutions for name in node.input):
            shortcut = min(node.input, key=lambda name: _kernel_area(convolutions[name]))
            readers[shortcut].add(node.name)


def _kernel_area(node: onnx.NodeProto) -> int:
    return int(np.prod(next(a.ints for a in node.attribute if a.name == "kernel_shape")))
