"""The files of one variant: graphs that share a single file of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

WEIGHTS = "weights.bin"
_INLINE = 1024
"""Bytes up to which a constant stays inside its graph: shapes and scalars, which tools look at."""
_ALIGNMENT = 64


def write_graphs(models: Mapping[str, onnx.ModelProto], folder: Path) -> None:
    """Write NAME.onnx for every graph, and the weights of all of them once.

    The graphs of a bundle have the same weights; kept apart they would be there five times.

    Args:
        models: Models by graph name; their large constants are moved out.
        folder: An existing folder.

    Raises:
        OSError: A file cannot be written.
    """
    offsets: dict[bytes, int] = {}
    with (folder / WEIGHTS).open("wb") as file:
        for model in models.values():
            for tensor in model.graph.initializer:
                data = onnx.numpy_helper.to_array(tensor).tobytes()
                if len(data) <= _INLINE:
                    continue
                key = hashlib.sha256(data).digest()
                if key not in offsets:
                    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                    offsets[key] = file.tell()
                    file.write(data)
                tensor.raw_data = b""
                set_external_data(tensor, WEIGHTS, offset=offsets[key], length=len(data))
                tensor.ClearField("raw_data")
    for name, model in models.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
