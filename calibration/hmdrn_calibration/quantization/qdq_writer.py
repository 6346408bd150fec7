"""Quantized graphs, written as a placement plans them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from hmdrn_calibration.quantization.affine import Grid, fit_grid, quantize_weight
from hmdrn_calibration.quantization.histograms import Range
from hmdrn_calibration.quantization.qdq_placement import Dialect, plan_placement

_INT32_MAX = 2**31 - 1


def quantize_graph(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    dialect: Dialect,
    float32_layers: Collection[str] = (),
) -> onnx.ModelProto:
    """Return a graph with Q/DQ pairs, its weights in int8.

    Args:
        model: The FP32 graph, weights inside; it is not changed.
        ranges: Range of every tensor that the placement quantizes.
        dialect: The placement.
        float32_layers: Layers that stay FP32.
    """
    placement = plan_placement(model.graph, dialect, float32_layers)
    tensors = placement.tensors
    grids = {
        name: fit_grid(ranges[tensor.grid_source], dialect.symmetric) for name, tensor in tensors.items()
    }
    writer = _Writer(model.graph)

    def add_pairs(names: Iterable[str]) -> None:
        for name in names:
            if name in tensors:
                writer.add_pair(name, tensors[name].grid_source, grids[name])

    add_pairs(value.name for value in model.graph.input)
    for node in model.graph.node:
        inputs = [
            _dequantized(name) if name in tensors and node.name in tensors[name].readers else name
            for name in node.input
        ]
        if node.name in placement.layers:
            # Output channels: rows of a convolution's kernel, columns of a product's matrix.
            axis = 0 if node.op_type == "Conv" else 1
            bias = node.input[2] if dialect.quantized_bias and len(node.input) > 2 else None
            constants = writer.add_weights(node.input[1], axis, grids[node.input[0]], bias)
            inputs[1 : 1 + len(constants)] = constants
        writer.add_node(node, inputs)
        add_pairs(node.output)
    writer.narrow_indices()
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for entry in result.metadata_props:
        if entry.key == "hmdrn.precision":
            entry.value = "int8"
    writer.replace_content(result.graph)
    onnx.checker.check_model(result, full_check=True)
    return result


def _dequantized(name: str) -> str:
    return f"{name}/dq"


class _Writer:
    """Collects the nodes and constants of a new graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants = {constant.name: constant for constant in graph.initializer}

    def add_node(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """Add a copy of a node with other inputs."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        self._nodes.append(copy)

    def add_pair(self, name: str, grid_source: str, grid: Grid) -> None:
        """Quantize a tensor and dequantize it again."""
        scale = self._add_constant(f"{grid_source}/scale", np.float32(grid.scale))
        zero = self._add_zero(grid.dtype, grid.zero_point)
        self._add("QuantizeLinear", [name, scale, zero], f"{name}/q")
        self._add("DequantizeLinear", [f"{name}/q", scale, zero], _dequantized(name))

    def add_weights(self, name: str, axis: int, inputs: Grid, bias: str | None) -> list[str]:
        """Quantize the weight of a layer, and its bias to the grid that its products are on.

        Returns:
            Names of the dequantized weight and, if it is quantized, bias.
        """
        weight = numpy_helper.to_array(self._constants[name])
        if bias is None:
            return [self._add_dequantized(name, *quantize_weight(weight, axis), axis)]
        offset = numpy_helper.to_array(self._constants[bias]).astype(np.float64)
        # The bias of a channel whose weights are almost zero must stay within int32.
        q, scales = quantize_weight(weight, axis, np.abs(offset) / (inputs.scale * _INT32_MAX))
        steps = scales.astype(np.float64) * inputs.scale
        q32 = np.clip(np.rint(offset / steps), -_INT32_MAX, _INT32_MAX).astype(np.int32)
        return [
            self._add_dequantized(name, q, scales, axis),
            self._add_dequantized(bias, q32, steps.astype(np.float32), 0),
        ]

    def narrow_indices(self) -> None:
        """Store positions of packed triangles in 32 bits: beside 8-bit weights, 64 would be much."""
        # The tracer repeats a triangle's positions for every photo before entries are gathered by them.
        indices_input = {"Gather": 1, "GatherElements": 1, "Expand": 0}
        nodes = [node for node in self._nodes if node.op_type in indices_input]
        for name in {node.input[indices_input[node.op_type]] for node in nodes}:
            constant = self._constants.get(name)
            if constant is not None and constant.dims and constant.data_type == onnx.TensorProto.INT64:
                positions = numpy_helper.to_array(constant)
                self._constants[name] = numpy_helper.from_array(positions.astype(np.int32), name)

    def replace_content(self, graph: onnx.GraphProto) -> None:
        """Replace a graph's nodes and constants by those collected."""
        used = {name for node in self._nodes for name in node.input}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(c for name, c in self._constants.items() if name in used)

    def _add_dequantized(
        self, name: str, q: npt.NDArray[np.signedinteger], scales: npt.NDArray[np.float32], axis: int
    ) -> str:
        result = _dequantized(name)
        if f"{name}/q" not in self._constants:  # both branches may read one matrix
            inputs = [
                self._add_constant(f"{name}/q", q),
                self._add_constant(f"{name}/scale", scales),
                self._add_zero(q.dtype, np.zeros(len(scales))),
            ]
            self._add("DequantizeLinear", inputs, result, axis=axis)
        return result

    def _add(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(onnx.helper.make_node(op_type, inputs, [output], output, **attributes))

    def _add_zero(self, dtype: npt.DTypeLike, value: npt.ArrayLike) -> str:
        """Add a zero point; equal ones are one constant."""
        array = np.asarray(value).astype(dtype)
        shape = "".join(f"x{size}" for size in array.shape)
        return self._add_constant(f"zero_point/{array.dtype}{shape}/{int(array.flat[0])}", array)

    def _add_constant(self, name: str, value: npt.ArrayLike) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name
