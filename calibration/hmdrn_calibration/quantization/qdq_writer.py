"""Writes a placement into a graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from hmdrn_calibration.quantization.affine import Grid, quantise_weight
from hmdrn_calibration.quantization.qdq_placement import Dialect, plan
from hmdrn_calibration.quantization.ranges import Range

_INT32_MAX = 2**31 - 1


def quantise(
    model: onnx.ModelProto, ranges: Mapping[str, Range], dialect: Dialect, kept: Collection[str] = ()
) -> onnx.ModelProto:
    """A graph with Q/DQ pairs, its weights in int8.

    Args:
        model: The FP32 graph, weights inside; it is not changed.
        ranges: The range of every tensor that the placement asks for.
        dialect: The placement.
        kept: Layers that stay FP32.
    """
    decided = plan(model.graph, dialect, kept)
    grids = {name: ranges[edge.grid_of].grid(dialect.symmetric) for name, edge in decided.edges.items()}
    writer = _Writer(model.graph)

    def add_pairs(names: Iterable[str]) -> None:
        for name in names:
            if name in decided.edges:
                writer.pair(name, decided.edges[name].grid_of, grids[name])

    add_pairs(value.name for value in model.graph.input)
    for node in model.graph.node:
        inputs = [
            _dequantised(name) if name in decided.edges and node.name in decided.edges[name].readers else name
            for name in node.input
        ]
        if node.name in decided.layers:
            # Channels of the output: rows of a convolution's kernel, columns of a product's matrix.
            axis = 0 if node.op_type == "Conv" else 1
            bias = node.input[2] if dialect.quantised_bias and len(node.input) > 2 else None
            dequantised = writer.weights(node.input[1], axis, grids[node.input[0]], bias)
            inputs[1 : 1 + len(dequantised)] = dequantised
        writer.node(node, inputs)
        add_pairs(node.output)
    writer.narrow_indices()
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for entry in result.metadata_props:
        if entry.key == "hmdrn.precision":
            entry.value = "int8"
    writer.replace(result.graph)
    onnx.checker.check_model(result, full_check=True)
    return result


def _dequantised(name: str) -> str:
    return f"{name}/dq"


class _Writer:
    """Collects the nodes and constants of a graph to be."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants = {constant.name: constant for constant in graph.initializer}

    def node(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """Take over a node with other inputs."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        self._nodes.append(copy)

    def pair(self, name: str, grid_of: str, grid: Grid) -> None:
        """Quantise a tensor and dequantise it again."""
        scale = self._constant(f"{grid_of}/scale", np.float32(grid.scale))
        zero = self._zero(grid.dtype, grid.zero_point)
        self._add("QuantizeLinear", [name, scale, zero], f"{name}/q")
        self._add("DequantizeLinear", [f"{name}/q", scale, zero], _dequantised(name))

    def weights(self, name: str, axis: int, inputs: Grid, bias: str | None) -> list[str]:
        """Quantise the weights of a layer, and its bias to the grid that its products are on.

        Returns:
            Names of the dequantised weight and, if it is quantised, bias.
        """
        weight = numpy_helper.to_array(self._constants[name])
        offset = None if bias is None else numpy_helper.to_array(self._constants[bias]).astype(np.float64)
        # A channel whose weights are as good as zero must not take its bias out of int32.
        least = 0.0 if offset is None else np.abs(offset) / (inputs.scale * _INT32_MAX)
        q, scales = quantise_weight(weight, axis, least)
        found = [self._dequantise(name, q, scales, axis)]
        if bias is not None and offset is not None:
            steps = scales.astype(np.float64) * inputs.scale
            q32 = np.clip(np.rint(offset / steps), -_INT32_MAX, _INT32_MAX).astype(np.int32)
            found.append(self._dequantise(bias, q32, steps.astype(np.float32), 0))
        return found

    def narrow_indices(self) -> None:
        """Hold positions of packed triangles in 32 bits: beside 8-bit weights they would weigh much."""
        # The tracer repeats a triangle's positions for every photo before entries are gathered by them.
        place = {"Gather": 1, "GatherElements": 1, "Expand": 0}
        for name in {node.input[place[node.op_type]] for node in self._nodes if node.op_type in place}:
            constant = self._constants.get(name)
            if constant is not None and constant.dims and constant.data_type == onnx.TensorProto.INT64:
                positions = numpy_helper.to_array(constant)
                self._constants[name] = numpy_helper.from_array(positions.astype(np.int32), name)

    def replace(self, graph: onnx.GraphProto) -> None:
        """Put what was collected in place of a graph's nodes and constants."""
        used = {name for node in self._nodes for name in node.input}
        del graph.node[:]
        graph.node.extend(self._nodes)
        del graph.initializer[:]
        graph.initializer.extend(c for name, c in self._constants.items() if name in used)

    def _dequantise(
        self, name: str, q: npt.NDArray[np.signedinteger], scales: npt.NDArray[np.float32], axis: int
    ) -> str:
        result = _dequantised(name)
        if f"{name}/q" not in self._constants:  # both branches may read one matrix
            inputs = [
                self._constant(f"{name}/q", q),
                self._constant(f"{name}/scale", scales),
                self._zero(q.dtype, np.zeros(len(scales))),
            ]
            self._add("DequantizeLinear", inputs, result, axis=axis)
        return result

    def _add(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(onnx.helper.make_node(op_type, inputs, [output], output, **attributes))

    def _zero(self, dtype: npt.DTypeLike, value: npt.ArrayLike) -> str:
        """A zero point; equal ones are one constant."""
        array = np.asarray(value).astype(dtype)
        shape = "".join(f"x{size}" for size in array.shape)
        return self._constant(f"zero_point/{array.dtype}{shape}/{int(array.flat[0])}", array)

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name
