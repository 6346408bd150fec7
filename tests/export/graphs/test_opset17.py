"""Graphs for TensorRT 8.6 compute what the others do, in the operators that it reads."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_graphs import load_graph

from hmdrn_export.exporter import export_bundle
from hmdrn_export.graphs.opset17 import convert_to_opset17
from hmdrn_export.tensorrt.sources import list_sources
from hmdrn_export.tensorrt.versions import find_features
from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError, ExportError
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def bundle(exported):
    return open_bundle(exported("conv4", "ridge"))


@pytest.fixture(scope="module")
def pixels():
    return draw_specimens([0, 1], 1, size=84).reshape(-1, 84, 84, 3)


def outputs(model, inputs):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("graph", ["enroll", "classify", "encode", "explain", "solve"])
def test_every_graph_gives_the_same_in_opset_17(bundle, graph, pixels):
    model = load_graph(bundle.graph_path(graph))
    before = model.SerializeToString(deterministic=True)
    older = convert_to_opset17(model)
    assert model.SerializeToString(deterministic=True) == before
    assert [domain.version for domain in older.opset_import] == [17]
    assert "LayerNormalization" not in {node.op_type for node in older.graph.node}
    assert [v.name for v in (*older.graph.input, *older.graph.output)] == [
        v.name for v in (*model.graph.input, *model.graph.output)
    ]
    packed = bundle.manifest.network.packed
    tokens = np.random.default_rng(0).normal(size=(2, packed)).astype(np.float32)
    inputs = {
        "images": pixels,
        "operator": tokens,
        "gram": outputs(load_graph(bundle.graph_path("enroll")), {"images": pixels})["support_gram"],
        "shots": np.ones(2, np.float32),
    }
    given = {value.name: inputs[value.name] for value in model.graph.input}
    expected = outputs(model, given)
    for name, array in outputs(older, given).items():
        if array.dtype == np.bool_:  # a step: tokens on the threshold may turn over
            assert (array != expected[name]).mean() < 0.002
        else:
            np.testing.assert_allclose(array, expected[name], atol=1e-4 * np.abs(expected[name]).max())


def reduction(axes):
    node = onnx.helper.make_node("ReduceMean", ["x", "axes"], ["y"], "mean")
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["a", "b"]) for n in "xy")
    given = [] if axes else [onnx.helper.make_tensor_value_info("axes", onnx.TensorProto.INT64, [1])]
    constants = [onnx.numpy_helper.from_array(np.array(axes), "axes")] if axes else []
    graph = onnx.helper.make_graph([node], "g", [x, *given], [y], constants)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])


def test_axes_become_an_attribute_and_must_be_constant():
    (node,) = convert_to_opset17(reduction([1])).graph.node
    assert list(node.input) == ["x"]
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} == {
        "axes": [1],
        "keepdims": 1,
    }
    with pytest.raises(ExportError, match="'mean' reduces axes that are not constant: opset 17 cannot"):
        convert_to_opset17(reduction(None))


def test_a_split_into_equal_parts_loses_its_number_of_parts():
    node = onnx.helper.make_node("Split", ["x"], ["a", "b"], "cut", axis=1, num_outputs=2)
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 4])
    parts = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2, 2]) for n in "ab"]
    graph = onnx.helper.make_graph([node], "g", [x], parts)
    older = convert_to_opset17(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    )
    assert [a.name for a in older.graph.node[0].attribute] == ["axis"]
    array = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(outputs(older, {"x": array})["b"], array[:, 2:])


def test_an_unknown_opset_is_refused(seeded_checkpoint, tmp_path):
    with pytest.raises(ExportError, match="unknown opset 16: choose one of 18, 17"):
        export_bundle(load_checkpoint(seeded_checkpoint("conv4", "ridge")), tmp_path / "b.hmdrn", opset=16)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_an_opset_17_bundle_is_verified_and_older_compilers_choose_it(
    seeded_checkpoint, exported, untraced, tmp_path, head
):
    path = tmp_path / "b.hmdrn"
    untraced(exported("conv4", head))
    export_bundle(load_checkpoint(seeded_checkpoint("conv4", head)), path, opset=17)
    manifest = open_bundle(path, "fp32-opset17").manifest
    assert set(manifest.verification) == {"fp32", "fp32-opset17"}
    assert {graph.opset for graph in manifest.variants["fp32-opset17"].values()} == {17}
    assert manifest.variants["fp32-opset17"].keys() == manifest.variants["fp32"].keys()
    old, new = (find_features("tensorrt", version) for version in ("8.6.2", "10.3.0"))
    assert list_sources(manifest, old, "8.6.2")[0].variant == "fp32-opset17"
    assert list_sources(manifest, new, "10.3.0")[0].variant == "fp32"
    with pytest.raises(BackendError, match=r"variant 'fp32-opset17' of .* is for tensorrt"):
        open_backend(open_bundle(path, "fp32-opset17"))
