"""The checkpoint inside a bundle, and the constants of graphs that it already holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper
from onnx.external_data_helper import set_external_data

from hmdrn_network.checkpoints import Checkpoint, canonical_weights, serialize_checkpoint
from hmdrn_runtime.io.safetensors_header import LENGTH_BYTES, read_header_size

_ELEMENT_TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16}


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """One tensor of the checkpoint, as a graph reads it.

    Attributes:
        name: Its name in the network.
        element_type: ONNX's type of its entries in the file: float32, or half for numbers that half holds.
        offset: Bytes before it in the file.
        length: Its bytes.
        values: Its values, float32.
        transposed: The graph multiplies by the transposed matrix.
    """

    name: str
    element_type: int
    offset: int
    length: int
    values: npt.NDArray[np.float32]
    transposed: bool = False


class CheckpointFile:
    """Writes a network's checkpoint into a bundle, and finds constants of its graphs in it.

    The numbers of a constant are compared, not its name: one that was computed otherwise is not found, and
    is stored with the graphs.

    Args:
        checkpoint: The trained network with its card; `fold_normalizations` makes its kernels the graphs'.
        path: The file to write, beside the graphs.
    """

    def __init__(self, checkpoint: Checkpoint, path: Path) -> None:
        self._file = path.name
        data = serialize_checkpoint(checkpoint.network, checkpoint.card)
        path.write_bytes(data)
        start = LENGTH_BYTES + read_header_size(data)
        header = json.loads(data[LENGTH_BYTES:start])
        self._tensors = []
        for name, weight in canonical_weights(checkpoint.network).items():
            first, end = header[name]["data_offsets"]
            place = (_ELEMENT_TYPES[header[name]["dtype"]], start + first, end - first)
            self._tensors.append(StoredTensor(name, *place, weight.numpy()))
            if weight.dim() == 2:
                self._tensors.append(StoredTensor(name, *place, weight.numpy().T, transposed=True))

    def find(self, values: npt.NDArray[np.generic]) -> StoredTensor | None:
        """Find a graph's constant in the checkpoint; None if it is not there."""
        return next((tensor for tensor in self._tensors if np.array_equal(tensor.values, values)), None)

    def make_nodes(self, name: str, stored: StoredTensor) -> tuple[TensorProto, list[NodeProto]]:
        """Write a constant as nodes on the checkpoint's tensor, which every executor computes while loading.

        Args:
            name: Name of the constant in its graph.
            stored: The tensor.

        Returns:
            The initializer, which points into the checkpoint's file, and the nodes in their order.
        """
        steps: list[tuple[str, dict[str, Any]]] = []
        if stored.element_type != TensorProto.FLOAT:
            steps.append(("Cast", {"to": TensorProto.FLOAT}))
        if stored.transposed:
            steps.append(("Transpose", {}))
        shape = stored.values.T.shape if stored.transposed else stored.values.shape
        initializer = TensorProto(
            name=f"checkpoint/{stored.name}" if steps else name,
            data_type=stored.element_type,
            dims=shape,
            raw_data=b"",
        )
        set_external_data(initializer, self._file, offset=stored.offset, length=stored.length)
        initializer.ClearField("raw_data")
        nodes, value = [], initializer.name
        for number, (operator, attributes) in enumerate(steps, start=1):
            output = name if number == len(steps) else f"{name}/{operator}"
            nodes.append(helper.make_node(operator, [value], [output], f"{name}/{operator}", **attributes))
            value = output
        return initializer, nodes
