"""Multiply-adds of a graph."""

from __future__ import annotations

import math

import onnx


def count_multiply_adds(model: onnx.ModelProto) -> int:
    """Count the multiply-adds of convolutions and matrix products of a graph for one photo.

    Args:
        model: A graph whose free sizes are all counts of photos or classes; each is taken as one.
    """
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in single.graph.input:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_value = 1
    graph = onnx.shape_inference.infer_shapes(single, strict_mode=True, data_prop=True).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        # Sizes that inference leaves open come from counts of photos.
        shapes[value.name] = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return total
