"""Constants of a graph worked out once, here, and not on a device for every photo."""

from __future__ import annotations

import onnx
from onnx.reference import ReferenceEvaluator


def fold_constants(model: onnx.ModelProto) -> None:
    """Replace every node that depends on constants alone by its value.

    The tracer's optimiser leaves large ones: transposed weights, and the positions of a wide backbone's
    packed triangle, which it works out by square roots in float64. TensorRT has no float64; a position
    that is off by one would be wrong without a word.

    Args:
        model: Changed in place; constants that nothing needs any more are dropped.
    """
    graph = model.graph
    constant = {weight.name for weight in graph.initializer}
    folded: list[onnx.NodeProto] = []
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        if all(name in constant for name in node.input if name):
            constant.update(node.output)
            folded.append(node)
        else:
            kept.append(node)
    outputs = {value.name for value in graph.output}
    needed = {name for node in kept for name in node.input} | outputs
    results = [name for node in folded for name in node.output if name in needed]
    if results:
        used = {name for node in folded for name in node.input}
        part = onnx.helper.make_graph(
            folded,
            "constants",
            [],
            [onnx.ValueInfoProto(name=name) for name in results],
            [weight for weight in graph.initializer if weight.name in used],
        )
        values = ReferenceEvaluator(onnx.helper.make_model(part, opset_imports=model.opset_import)).run(
            results, {}
        )
        graph.initializer.extend(map(onnx.numpy_helper.from_array, values, results))
    del graph.node[:]
    graph.node.extend(kept)
    alive = [weight for weight in graph.initializer if weight.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(alive)
