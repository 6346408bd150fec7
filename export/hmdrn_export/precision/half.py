"""A float32 graph to its strongly typed half twin, by the table of rules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from hmdrn_export.precision.rules import Precision, key_of, real_values, rule_of
from hmdrn_runtime.errors import ExportError

_TYPES: Mapping[Precision, int] = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
_SUFFIX: Mapping[Precision, str] = {"fp32": ":float32", "fp16": ":half"}
HALF_MAX = float(np.finfo(np.float16).max)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a graph so that its types say where it computes in half.

    Inputs and outputs keep their types: a gallery and a caller see float32. Weights that half nodes alone
    need are stored as half. Conversions between the two are Cast nodes, "<value>:half" and
    "<value>:float32", one for each value however many nodes read it.

    Args:
        model: A checked float32 model, weights inside; it stays as it is.

    Returns:
        A checked model of the same name, inputs, outputs and nodes.

    Raises:
        ExportError: A node that no rule knows, or a weight above 65,504, which is no half number.
    """
    return _Conversion(model).run()


class _Conversion:
    """One conversion: the nodes written so far, and the precision of every value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.source = model
        self.real = set(real_values(model))
        self.weights = {weight.name: weight for weight in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.precision: dict[str, Precision] = {value.name: "fp32" for value in model.graph.input}
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.cast: dict[tuple[str, Precision], str] = {}

    def run(self) -> onnx.ModelProto:
        """Convert node by node, in their order."""
        for node in self.source.graph.node:
            self._convert(node)
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

    def _convert(self, original: NodeProto) -> None:
        node = NodeProto()
        node.CopyFrom(original)
        precision = self._precision_of(original)
        node.input[:] = [self._read(name, precision) if name else "" for name in original.input]
        for i, name in enumerate(original.output):
            if name in self.real:
                self.precision[name] = precision
                if name in self.outputs and precision == "fp16":
                    node.output[i] = f"{name}{_SUFFIX['fp16']}"
                    self.cast[name, "fp16"] = node.output[i]
        if node.op_type == "Cast" and node.output[0] in self.real:
            node.attribute[0].i = _TYPES[precision]
        self.nodes.append(node)
        for written, name in zip(node.output, original.output, strict=True):
            if written != name:  # an output of the graph, which stays float32 under its own name
                self._add_cast(written, name, "fp32")
                self.precision[name] = "fp32"

    def _precision_of(self, node: NodeProto) -> Precision:
        if not self.real & {*node.input, *node.output}:
            return "fp32"  # counts and indices: nothing of it is converted
        rule = rule_of(node)
        if rule is not None:
            return rule.precision
        given = [self.precision[name] for name in node.input if name in self.precision and name in self.real]
        if not given:
            raise ExportError(f"{node.name!r} ({key_of(node)}) moves constants alone: they should be folded")
        return given[0]

    def _read(self, name: str, precision: Precision) -> str:
        """What a node of some precision reads in place of a value: itself, its cast, or a stored constant."""
        if name in self.weights:
            return self._constant(name, precision if name in self.real else "fp32")
        if name not in self.real or self.precision[name] == precision:
            return name
        if (name, precision) not in self.cast:
            self.cast[name, precision] = f"{name}{_SUFFIX[precision]}"
            self._add_cast(name, self.cast[name, precision], precision)
        return self.cast[name, precision]

    def _constant(self, name: str, precision: Precision) -> str:
        weight = self.weights[name]
        if precision == "fp32":
            self.constants.setdefault(name, weight)
            return name
        stored = f"{name}{_SUFFIX['fp16']}"
        if stored not in self.constants:
            values = onnx.numpy_helper.to_array(weight)
            if not np.abs(values).max(initial=0.0) <= HALF_MAX:
                raise ExportError(
                    f"weight {name!r} has values up to {np.abs(values).max():.3g}, above the largest half "
                    f"number {HALF_MAX:.0f}: export with --precision fp32"
                )
            self.constants[stored] = onnx.numpy_helper.from_array(values.astype(np.float16), stored)
        return stored

    def _add_cast(self, source: str, target: str, precision: Precision) -> None:
        self.nodes.append(
            onnx.helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=_TYPES[precision])
        )
