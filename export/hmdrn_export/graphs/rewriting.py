"""Rewriting of traced graphs: constants computed once, and GELU in the order that ONNX Runtime recognizes."""

from __future__ import annotations

import onnx
from onnx.reference import ReferenceEvaluator


def fold_constants(model: onnx.ModelProto) -> None:
    """Replace every node that depends on constants alone by its value, in place.

    The tracer's optimizer leaves large ones: transposed weights, and the positions of a wide backbone's
    packed triangle, which it computes by square roots in float64. TensorRT has no float64, and a position
    that is off by one would be a silent error. Constants without a reader are dropped.
    """
    graph = model.graph
    constants = {weight.name for weight in graph.initializer}
    folded: list[onnx.NodeProto] = []
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if all(name in constants for name in node.input if name):
            constants.update(node.output)
            folded.append(node)
        else:
            nodes.append(node)
    needed = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
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
        evaluator = ReferenceEvaluator(onnx.helper.make_model(part, opset_imports=model.opset_import))
        values = evaluator.run(results, {})
        graph.initializer.extend(map(onnx.numpy_helper.from_array, values, results))
    weights = [weight for weight in graph.initializer if weight.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def reorder_gelu(graph: onnx.GraphProto) -> None:
    """Turn x * (0.5 * (1 + erf)), as the tracer writes it, into (0.5 * x) * (1 + erf), in place.

    The value is the same to the last bit, since halving is exact. ONNX Runtime fuses the new order with the
    bias before it; on a CPU the five operators cost more than the products around them.
    """
    producer = {name: node for node in graph.node for name in node.output}
    for product in graph.node:
        if product.op_type != "Mul":
            continue
        x, halved = product.input
        half = producer.get(halved)
        if half is None or half.op_type != "Mul":
            continue
        constant, one_plus = half.input
        add = producer.get(one_plus)
        if add is None or add.op_type != "Add" or producer[add.input[0]].op_type != "Erf":
            continue
        half.input[:] = [x, constant]
        product.input[:] = [halved, one_plus]
