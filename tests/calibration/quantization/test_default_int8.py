"""The INT8 graphs of the package's model."""

from __future__ import annotations

import onnx
from onnx import TensorProto, numpy_helper

from hmdrn.loading import resolve_bundle


def test_no_weight_of_the_default_model_is_minus_128():
    """ONNX Runtime's ARM kernels without SDOT are exact only then."""
    folder = resolve_bundle("default") / "graphs" / "int8-ort"
    graph = onnx.load(str(folder / "classify.onnx")).graph
    weights = [numpy_helper.to_array(w) for w in graph.initializer if w.data_type == TensorProto.INT8]
    assert sum(w.size for w in weights) > 1_000_000
    assert min(w.min() for w in weights) == -127


def test_pixels_are_normalized_by_one_number_for_all_channels():
    """By a number for each channel it takes twenty times as long where channels lie last."""
    path = resolve_bundle("default") / "graphs" / "int8-ort" / "classify.onnx"
    graph = onnx.load(str(path), load_external_data=False).graph
    numbers = {w.name: list(w.dims) for w in graph.initializer}
    sizes = [numbers[node.input[1]] for node in graph.node if node.name in ("hmdrn/Mul", "hmdrn/Sub")]
    assert sizes == [[1, 1, 1], [1, 1, 1]]
