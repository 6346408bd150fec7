"""The layers of a graph that can be quantised: convolutions, and products with a matrix of weights."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import numpy_helper

from hmdrn_runtime.bundle.bundle import Bundle

PHOTO_GRAPHS = ("enroll", "classify", "encode", "explain")
"""The graphs that look at photos; the solve stays FP32."""


def photo_graphs(bundle: Bundle) -> dict[str, onnx.ModelProto]:
    """The FP32 graphs of a bundle that look at photos, weights inside, by name."""
    graphs = bundle.manifest.variants[bundle.variant]
    models = {name: onnx.load(bundle.graph_path(name)) for name in PHOTO_GRAPHS if name in graphs}
    for model in models.values():
        _fold_transposed_weights(model.graph)
    return models


def layers_of(graph: onnx.GraphProto) -> dict[str, str]:
    """Layers by node, in the graph's order.

    A layer is named by the path of its weight in the network. The two branches have a node each for it:
    they are quantised together, or not at all.

    Returns:
        Name of the layer by name of the node.
    """
    weights = {weight.name for weight in graph.initializer if len(weight.dims) > 1}
    return {
        node.name: node.input[1].split(".weight")[0]
        for node in graph.node
        if node.op_type in ("Conv", "MatMul") and node.input[1] in weights
    }


def all_layers(models: Mapping[str, onnx.ModelProto]) -> tuple[str, ...]:
    """Every layer of some graphs, from the input on."""
    return tuple(
        dict.fromkeys(layer for model in models.values() for layer in layers_of(model.graph).values())
    )


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each tensor."""
    return {name: node for node in graph.node for name in node.output}


def _fold_transposed_weights(graph: onnx.GraphProto) -> None:
    """Transpose once what bundles of hmdrn before 0.2 transpose for every photo."""
    weights = {weight.name: weight for weight in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type != "Transpose" or node.input[0] not in weights:
            kept.append(node)
            continue
        name, permutation = f"{node.input[0]}.transposed", node.attribute[0].ints
        if name not in weights:
            value = numpy_helper.to_array(weights[node.input[0]]).transpose(permutation)
            weights[name] = numpy_helper.from_array(value.copy(), name)
            graph.initializer.append(weights[name])
        for reader in graph.node:
            reader.input[:] = [name if tensor == node.output[0] else tensor for tensor in reader.input]
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    alive = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(alive)
