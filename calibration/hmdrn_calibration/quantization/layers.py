"""Layers of a graph that can be quantized: convolutions, and products with a matrix of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from hmdrn_runtime.bundle.bundle import Bundle

PHOTO_GRAPHS = ("enroll", "classify", "encode", "explain")
"""Graphs that take photos; the solve stays FP32."""


def load_photo_graphs(bundle: Bundle) -> dict[str, onnx.ModelProto]:
    """Load the FP32 graphs that take photos, weights inside, by name."""
    graphs = bundle.manifest.variants[bundle.variant]
    models = {name: onnx.load(bundle.graph_path(name)) for name in PHOTO_GRAPHS if name in graphs}
    for model in models.values():
        fold_weights(model.graph)
    return models


_FOLDED: Mapping[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "Cast": lambda half: half.astype(np.float32),
    "Transpose": np.transpose,
}
"""The steps from a tensor of the checkpoint to a constant of a graph."""


def fold_weights(graph: onnx.GraphProto) -> None:
    """Replace the nodes that compute weights from the bundle's checkpoint by their results, in place."""
    constants = {constant.name: constant for constant in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type in _FOLDED and all(name in constants for name in node.input):
            stored = numpy_helper.to_array(constants[node.input[0]])
            values = np.ascontiguousarray(_FOLDED[node.op_type](stored))
            constants[node.output[0]] = numpy_helper.from_array(values, node.output[0])
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constant for name, constant in constants.items() if name in used)


def find_layers(graph: onnx.GraphProto) -> dict[str, str]:
    """Map the names of nodes to the names of their layers, in the graph's order.

    A layer is named by the path of its weight in the network. Both branches have a node for it: they are
    quantized together, or not at all.
    """
    weights = {weight.name for weight in graph.initializer if len(weight.dims) > 1}
    return {
        node.name: node.input[1].split(".weight")[0]
        for node in graph.node
        if node.op_type in ("Conv", "MatMul") and node.input[1] in weights
    }


def list_layers(models: Mapping[str, onnx.ModelProto]) -> tuple[str, ...]:
    """List every layer of some graphs, from the input on."""
    return tuple(
        dict.fromkeys(layer for model in models.values() for layer in find_layers(model.graph).values())
    )
