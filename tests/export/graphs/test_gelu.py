import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from hmdrn_export.graphs.gelu import reorder_gelu
from hmdrn_runtime.bundle.bundle import open_bundle


@pytest.fixture
def traced_gelu():
    """x * (0.5 * (1 + erf(x / sqrt(2)))) behind a bias, as the tracer writes it."""
    nodes = [
        helper.make_node("Add", ["input", "bias"], ["x"]),
        helper.make_node("Div", ["x", "root"], ["scaled"]),
        helper.make_node("Erf", ["scaled"], ["erf"]),
        helper.make_node("Add", ["erf", "one"], ["sum"]),
        helper.make_node("Mul", ["half", "sum"], ["halved"]),
        helper.make_node("Mul", ["x", "halved"], ["output"]),
    ]
    values = {"bias": np.linspace(-1, 1, 8), "root": np.sqrt(2), "one": 1.0, "half": 0.5}
    weights = [onnx.numpy_helper.from_array(np.array(v, np.float32), name) for name, v in values.items()]
    graph = helper.make_graph(
        nodes,
        "gelu",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 8])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def operators(path):
    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


def optimised(model, tmp_path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, operators(tmp_path / "optimised.onnx")


def test_gelu_becomes_one_operator_and_keeps_its_value(traced_gelu, tmp_path):
    x = np.linspace(-6, 6, 80, dtype=np.float32).reshape(10, 8)
    reorder_gelu(traced_gelu.graph)
    onnx.checker.check_model(traced_gelu, full_check=True)
    session, kinds = optimised(traced_gelu, tmp_path)
    assert kinds == ["BiasGelu"]
    expected = torch.nn.functional.gelu(torch.from_numpy(x).double() + torch.linspace(-1, 1, 8))
    np.testing.assert_allclose(session.run(None, {"input": x})[0], expected.numpy(), atol=2e-6)


def test_other_products_are_left_as_they_are(traced_gelu):
    traced_gelu.graph.node[2].op_type = "Tanh"
    before = traced_gelu.SerializeToString()
    reorder_gelu(traced_gelu.graph)
    assert traced_gelu.SerializeToString() == before


def test_every_gelu_of_a_bundle_is_one_operator_in_onnx_runtime(exported, tmp_path):
    bundle = open_bundle(exported("conv4", "ridge"))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "classify.onnx")
    ort.InferenceSession(str(bundle.graph_path("classify")), options, providers=["CPUExecutionProvider"])
    kinds = operators(tmp_path / "classify.onnx")
    assert kinds.count("BiasGelu") == 6
    assert "Erf" not in kinds
