"""Small detectors in ONNX, in the layouts of YOLO: red cells of a grid are birds, blue ones cats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELL = 16
"""Side of a cell in pixels of the input: a bright square on the grid gets a box of exactly this size."""
NAMES = "{0: 'bird', 1: 'cat'}"


def write_detector(
    path: Path, layout: str, side: int | None = 64, half: bool = False, metadata: dict[str, str] | None = None
) -> Path:
    """Write a detector.

    Args:
        path: The file.
        layout: "v5" of (1, N, 7), "v8" of (1, 6, N) or "end-to-end" of (1, N, 6).
        side: Side of the input in pixels; None for a dynamic size.
        half: True for an input and output of float16.
        metadata: The metadata; by default the names of the classes.
    """
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    steps = [
        helper.make_node("Cast", ["images"], ["image"], to=TensorProto.FLOAT),
        helper.make_node(
            "AveragePool", ["image"], ["cells"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]
        ),
        # Twice as steep, so that black and the gray of the border score 0, and a full color 1.
        helper.make_node("Mul", ["cells", "two"], ["doubled"]),
        helper.make_node("Sub", ["doubled", "one"], ["above"]),
        helper.make_node("Relu", ["above"], ["scores"]),
        helper.make_node("Split", ["scores"], ["bird", "green", "cat"], axis=1, num_outputs=3),
        helper.make_node("Max", ["bird", "cat"], ["best"]),
        helper.make_node("Mul", ["bird", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "cell"], ["size"]),
        helper.make_node("CumSum", ["size", "axis_x"], ["right"]),
        helper.make_node("CumSum", ["size", "axis_y"], ["bottom"]),
        helper.make_node("Sub", ["right", "cell"], ["left"]),
        helper.make_node("Sub", ["bottom", "cell"], ["top"]),
        helper.make_node("Sub", ["right", "half_cell"], ["x"]),
        helper.make_node("Sub", ["bottom", "half_cell"], ["y"]),
        helper.make_node("Greater", ["cat", "bird"], ["is_cat"]),
        helper.make_node("Cast", ["is_cat"], ["class"], to=TensorProto.FLOAT),
    ]
    columns = {
        "v5": ["x", "y", "size", "size", "best", "bird", "cat"],
        "v8": ["x", "y", "size", "size", "bird", "cat"],
        "end-to-end": ["left", "top", "right", "bottom", "best", "class"],
    }[layout]
    steps += [
        helper.make_node("Concat", columns, ["grid"], axis=1),
        helper.make_node("Reshape", ["grid", "flat"], ["rows" if layout != "v8" else "table"]),
    ]
    if layout != "v8":
        steps.append(helper.make_node("Transpose", ["rows"], ["table"], perm=[0, 2, 1]))
    steps.append(helper.make_node("Cast", ["table"], ["output0"], to=kind))
    constants = {
        "zero": np.float32(0),
        "one": np.float32(1),
        "two": np.float32(2),
        "cell": np.float32(CELL),
        "half_cell": np.float32(CELL / 2),
        "axis_x": np.int64(3),
        "axis_y": np.int64(2),
        "flat": np.array([1, len(columns), -1], np.int64),
    }
    shape = [1, 3, side or "height", side or "width"]
    graph = helper.make_graph(
        steps,
        "detector",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("output0", kind, [1, "a", "b"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"names": NAMES} if metadata is None else metadata)
    onnx.save(model, path)
    return path
