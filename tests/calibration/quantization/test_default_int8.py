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
