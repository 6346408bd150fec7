"""Strongly typed half twins of float32 graphs, by the table of rules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from hmdrn_export.precision.rules import Precision, find_rule, list_values, rule_key
from hmdrn_runtime.errors import ExportError

_TYPES: Mapping[Precision, int] = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
_SUFFIX: Mapping[Precision, str] = {"fp32": ":float32", "fp16": ":half"}
HALF_MAX = float(np.finfo(np.float16).max)


def convert_to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a graph so that its types say where it computes in half.

    Inputs and outputs keep their types: galleries and callers see float32. Weights that only half nodes read
    are stored as half. Conversions between the two are Cast nodes, "<value>:half" and "<value>:float32", one
    for each value, however many nodes read it.

    Args:
        model: A checked float32 model, weights inside; it is not changed.

    Returns:
        A checked model of the same name, inputs, outputs and nodes.

    Raises:
        ExportError: No rule covers a node, or a weight is above 65,504, the largest half number.
    """
    return _Conversion(model).run()


class _Conversion:
    """One conversion: the nodes written so far, and the precision of every value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.source = model
        self.float_values = set(list_values(model))
        self.weights = {weight.name: weight for weight in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.precision: dict[str, Precision] = {value.name: "fp32" for value in model.graph.input}
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.cast: dict[tuple[str, Precision], str] = {}

    def run(self) -> onnx.ModelProto:
        """Convert node by node, in their order."""
        for node in self.source.graph.node:
            self._convert_node(node)
        half = onnx.ModelProto()
        half.CopyFrom(self.source)
        del half.graph.node[:], half.graph.initializer[:], half.graph.value_info[:]
        half.graph.node.extend(self.nodes)
        half.graph.initializer.extend(self.constants.values())
        for entry in half.metadata_props:
            entry.value = "fp16" if entry.key == "hmdrn.precision" else entry.value
        try:
            onnx.checker.check_model(half, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"graph {half.graph.name!r} has no valid half twin: {error}") from error
        return half

    def _convert_node(self, original: NodeProto) -> None:
        node = NodeProto()
        node.CopyFrom(original)
        precision = self._choose_precision(original)
        node.input[:] = [self._read(name, precision) if name else "" for name in original.input]
        for i, name in enumerate(original.output):
            if name in self.float_values:
                self.precision[name] = precision
                if name in self.outputs and precision == "fp16":
                    node.output[i] = f"{name}{_SUFFIX['fp16']}"
                    self.cast[name, "fp16"] = node.output[i]
        if node.op_type == "Cast" and node.output[0] in self.float_values:
            node.attribute[0].i = _TYPES[precision]
        self.nodes.append(node)
        for written, name in zip(node.output, original.output, strict=True):
            if written != name:  # an output of the graph, which stays float32 under its own name
                self._add_cast(written, name, "fp32")
                self.precision[name] = "fp32"

    def _choose_precision(self, node: NodeProto) -> Precision:
        if not self.float_values & {*node.input, *node.output}:
            return "fp32"  # counts and indices: nothing to convert
        rule = find_rule(node)
        if rule is not None:
            return rule.precision
        for name in node.input:
            if name in self.precision and name in self.float_values:
                return self.precision[name]
        raise ExportError(f"{node.name!r} ({rule_key(node)}) moves constants alone: they should be folded")

    def _read(self, name: str, precision: Precision) -> str:
        """Return the name that a node of some precision reads: the value, its cast, or a stored constant."""
        if name in self.weights:
            return self._add_constant(name, precision if name in self.float_values else "fp32")
        if name not in self.float_values or self.precision[name] == precision:
            return name
        if (name, precision) not in self.cast:
            self.cast[name, precision] = f"{name}{_SUFFIX[precision]}"
            self._add_cast(name, self.cast[name, precision], precision)
        return self.cast[name, precision]

    def _add_constant(self, name: str, precision: Precision) -> str:
        weight = self.weights[name]
        if precision == "fp32":
            self.constants.setdefault(name, weight)
            return name
        stored = f"{name}{_SUFFIX['fp16']}"
        if stored not in self.constants:
            values = onnx.numpy_helper.to_array(weight)
            largest = np.abs(values).max(initial=0.0)
            if not largest <= HALF_MAX:
                raise ExportError(
                    f"weight {name!r} has values up to {largest:.3g}, above the largest half "
                    f"number {HALF_MAX:.0f}: export with --precision fp32"
                )
            self.constants[stored] = onnx.numpy_helper.from_array(values.astype(np.float16), stored)
        return stored

    def _add_cast(self, source: str, target: str, precision: Precision) -> None:
        self.nodes.append(
            onnx.helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=_TYPES[precision])
        )
