"""Layers of a graph that can be quantized: convolutions, and products with a matrix of weights."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from hmdrn_runtime.bundle.bundle import Bundle

PHOTO_GRAPHS = ("enroll", "classify", "encode", "explain")
"""Graphs that take photos; the solve stays FP32."""


def load_photo_graphs(bundle: Bundle) -> dict[str, onnx.ModelProto]:
    """Load the FP32 graphs that take photos, weights inside, by name."""
    graphs = bundle.manifest.variants[bundle.variant]
    return {name: onnx.load(bundle.graph_path(name)) for name in PHOTO_GRAPHS if name in graphs}


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
