"""Files of one variant: graphs that share the files of their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

from hmdrn_export.bundle_writer.checkpoint_file import CheckpointFile

CONSTANTS = "constants.bin"
_INLINE = 64
"""Bytes up to which a constant stays inside its graph: shapes and scalars, which tools inspect."""
_ALIGNMENT = 64


def write_graphs(
    models: Mapping[str, onnx.ModelProto], folder: Path, checkpoint: CheckpointFile | None = None
) -> None:
    """Write NAME.onnx for every graph, and the constants of all graphs once.

    The graphs of a bundle share their weights; separate files would hold them five times. What the checkpoint
    holds is read from its file, through nodes on constants alone; all else from `CONSTANTS`.

    Args:
        models: Models by graph name; their large constants are moved out.
        folder: An existing folder.
        checkpoint: The checkpoint in this folder; None stores every constant.

    Raises:
        OSError: A file cannot be written.
    """
    offsets: dict[bytes, int] = {}
    with (folder / CONSTANTS).open("wb") as file:
        for model in models.values():
            if checkpoint is not None:
                _refer_to_checkpoint(model.graph, checkpoint)
            for tensor in model.graph.initializer:
                if tensor.data_location == onnx.TensorProto.EXTERNAL:
                    continue
                data = onnx.numpy_helper.to_array(tensor).tobytes()
                if len(data) <= _INLINE:
                    continue
                key = hashlib.sha256(data).digest()
                if key not in offsets:
                    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                    offsets[key] = file.tell()
                    file.write(data)
                tensor.raw_data = b""
                set_external_data(tensor, CONSTANTS, offset=offsets[key], length=len(data))
                tensor.ClearField("raw_data")
    for name, model in models.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def _refer_to_checkpoint(graph: onnx.GraphProto, checkpoint: CheckpointFile) -> None:
    """Replace the constants that the checkpoint holds, in place."""
    initializers: dict[str, onnx.TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        stored = checkpoint.find(values) if values.nbytes > _INLINE else None
        if stored is None:
            initializers[tensor.name] = tensor
            continue
        initializer, steps = checkpoint.make_nodes(tensor.name, stored)
        initializers[initializer.name] = initializer
        nodes += steps
    nodes += graph.node
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(initializers.values())
