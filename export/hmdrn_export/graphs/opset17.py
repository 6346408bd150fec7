"""A float32 graph in operators of ONNX opset 17 that TensorRT 8.5 and 8.6 (JetPack 5) read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hmdrn_runtime.errors import ExportError

OPSET = 17
_IR_VERSION = 8  # of the ONNX release that brought opset 17
_AXES_WERE_AN_ATTRIBUTE = ("ReduceMax", "ReduceMean")


def to_opset17(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write a graph of opset 18 in opset 17.

    Reductions have their axes as an attribute, equal splits tell no number of parts, and LayerNormalization,
    which opset 17 has and TensorRT 8.5 has not, is written out (Ba et al., 2016): mean, variance, scale and
    bias, in float32.

    Args:
        model: A checked float32 model, weights inside; it stays as it is.

    Returns:
        A checked model of the same name, inputs, outputs and values.

    Raises:
        ExportError: Opset 17 has no way to say it.
    """
    older = onnx.ModelProto()
    older.CopyFrom(model)
    older.ir_version = _IR_VERSION
    (domain,) = older.opset_import
    domain.version = OPSET
    constants = {weight.name: weight for weight in older.graph.initializer}
    made: dict[str, TensorProto] = {}
    nodes = [written for node in model.graph.node for written in _rewritten(node, constants, made)]
    del older.graph.node[:]
    older.graph.node.extend(nodes)
    needed = {name for node in nodes for name in node.input}
    kept = [weight for name, weight in {**constants, **made}.items() if name in needed]
    del older.graph.initializer[:]
    older.graph.initializer.extend(kept)
    try:
        onnx.checker.check_model(older, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"graph {model.graph.name!r} cannot be written in opset {OPSET}: {error}"
        ) from error
    return older


def _rewritten(
    node: NodeProto, constants: Mapping[str, TensorProto], made: dict[str, TensorProto]
) -> Iterator[NodeProto]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "LayerNormalization":
        yield from _layer_norm(node, attributes, made)
    elif node.op_type in _AXES_WERE_AN_ATTRIBUTE and len(node.input) > 1:
        if node.input[1] not in constants or attributes.get("noop_with_empty_axes"):
            raise ExportError(f"{node.name!r} reduces axes that are not constant: opset {OPSET} cannot")
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        keepdims = attributes.get("keepdims", 1)
        yield helper.make_node(
            node.op_type, [node.input[0]], node.output, node.name, axes=axes, keepdims=keepdims
        )
    else:
        written = NodeProto()
        written.CopyFrom(node)
        if node.op_type == "Split" and "num_outputs" in attributes:
            del written.attribute[:]
            written.attribute.append(helper.make_attribute("axis", attributes.get("axis", 0)))
        yield written


def _layer_norm(
    node: NodeProto, attributes: Mapping[str, Any], made: dict[str, TensorProto]
) -> Iterator[NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis."""
    if attributes.get("axis", -1) != -1 or len(node.input) != 3:
        raise ExportError(f"{node.name!r} is no plain normalisation of the last axis")
    x, weight, bias = node.input
    epsilon = f"{node.name}.epsilon"
    made[epsilon] = numpy_helper.from_array(np.float32(attributes.get("epsilon", 1e-5)).reshape(()), epsilon)

    def step(operator: str, inputs: list[str], last: bool = False, **rest: Any) -> NodeProto:
        name = f"{node.name}/{len(taken)}.{operator}"
        taken.append(node.output[0] if last else name)
        return helper.make_node(operator, inputs, [taken[-1]], name, **rest)

    taken: list[str] = []
    yield step("ReduceMean", [x], axes=[-1], keepdims=1)
    yield step("Sub", [x, taken[-1]])
    centred = taken[-1]
    yield step("Mul", [centred, centred])
    yield step("ReduceMean", [taken[-1]], axes=[-1], keepdims=1)
    yield step("Add", [taken[-1], epsilon])
    yield step("Sqrt", [taken[-1]])
    yield step("Div", [centred, taken[-1]])
    yield step("Mul", [taken[-1], weight])
    yield step("Add", [taken[-1], bias], last=True)
