"""Float32 graphs in operators of ONNX opset 17, for TensorRT 8.6 (JetPack 6.0)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hmdrn_runtime.errors import ExportError

OPSET = 17
_IR_VERSION = 8  # of the ONNX release that introduced opset 17
_REDUCTIONS = ("ReduceMax", "ReduceMean")
"""Operators whose axes are an attribute in opset 17, and an input since."""


def convert_to_opset17(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a graph of opset 18 to opset 17.

    Reductions get their axes as an attribute, and equal splits lose their number of parts.
    LayerNormalization, which opset 17 has and some parsers of TensorRT 8.6 are reported to refuse, is written
    out (Ba et al., 2016): mean, variance, scale and bias, in float32.

    Args:
        model: A checked float32 model, weights inside; it is not changed.

    Returns:
        A checked model of the same name, inputs, outputs and values.

    Raises:
        ExportError: Opset 17 cannot express the graph.
    """
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    converted.ir_version = _IR_VERSION
    (domain,) = converted.opset_import
    domain.version = OPSET
    constants = {weight.name: weight for weight in converted.graph.initializer}
    nodes = [new for node in model.graph.node for new in _convert_node(node, constants)]
    needed = {name for node in nodes for name in node.input}
    del converted.graph.node[:], converted.graph.initializer[:]
    converted.graph.node.extend(nodes)
    converted.graph.initializer.extend(weight for name, weight in constants.items() if name in needed)
    try:
        onnx.checker.check_model(converted, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"graph {model.graph.name!r} cannot be written in opset {OPSET}: {error}"
        ) from error
    return converted


def _convert_node(node: NodeProto, constants: dict[str, TensorProto]) -> Iterator[NodeProto]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "LayerNormalization":
        yield from _expand_layer_norm(node, attributes, constants)
    elif node.op_type in _REDUCTIONS and len(node.input) > 1:
        if node.input[1] not in constants or attributes.get("noop_with_empty_axes"):
            raise ExportError(f"{node.name!r} reduces axes that are not constant: opset {OPSET} cannot")
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        keepdims = attributes.get("keepdims", 1)
        yield helper.make_node(
            node.op_type, [node.input[0]], node.output, node.name, axes=axes, keepdims=keepdims
        )
    elif node.op_type == "Split" and "num_outputs" in attributes:
        axis = attributes.get("axis", 0)
        yield helper.make_node("Split", node.input, node.output, node.name, axis=axis)
    else:
        yield node


def _expand_layer_norm(
    node: NodeProto, attributes: Mapping[str, Any], constants: dict[str, TensorProto]
) -> Iterator[NodeProto]:
    """Compute (x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis."""
    if attributes.get("axis", -1) != -1 or len(node.input) != 3:
        raise ExportError(f"{node.name!r} is not a plain normalization of the last axis")
    x, weight, bias = node.input
    epsilon = f"{node.name}.epsilon"
    value = np.float32(attributes.get("epsilon", 1e-5)).reshape(())
    constants[epsilon] = numpy_helper.from_array(value, epsilon)

    def step(operator: str, inputs: list[str], last: bool = False, **rest: Any) -> NodeProto:
        name = f"{node.name}/{len(outputs)}.{operator}"
        outputs.append(node.output[0] if last else name)
        return helper.make_node(operator, inputs, [outputs[-1]], name, **rest)

    outputs: list[str] = []
    yield step("ReduceMean", [x], axes=[-1], keepdims=1)
    yield step("Sub", [x, outputs[-1]])
    centered = outputs[-1]
    yield step("Mul", [centered, centered])
    yield step("ReduceMean", [outputs[-1]], axes=[-1], keepdims=1)
    yield step("Add", [outputs[-1], epsilon])
    yield step("Sqrt", [outputs[-1]])
    yield step("Div", [centered, outputs[-1]])
    yield step("Mul", [outputs[-1], weight])
    yield step("Add", [outputs[-1], bias], last=True)
