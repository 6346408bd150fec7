"""INT8 on ResNet-12: residual blocks, LeakyReLU, tokens kept in place of Gram matrices."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from preprocessings import SQUASH

from hmdrn_calibration.quantization.activation_observer import observe_activations
from hmdrn_calibration.quantization.layers import list_layers, load_photo_graphs
from hmdrn_calibration.quantization.ort_session import open_session
from hmdrn_calibration.quantization.qdq_placement import DIALECTS, ORT, TRT, plan_placement
from hmdrn_calibration.quantization.qdq_writer import quantize_graph
from hmdrn_calibration.quantization.ranges import METHODS
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def graphs(resnet12_filled, exported):
    return load_photo_graphs(open_bundle(exported(resnet12_filled, preprocessing="squash")))


@pytest.fixture(scope="module")
def quantized(graphs, drawn):
    histograms = observe_activations(graphs, drawn, SQUASH, EpisodeSetting(2, 1, 1, 2))

    def make(dialect):
        ranges = {name: METHODS["minmax"](h, dialect.symmetric) for name, h in histograms.items()}
        return {name: quantize_graph(model, ranges, dialect) for name, model in graphs.items()}

    return {dialect: make(dialect) for dialect in DIALECTS}


def test_every_convolution_and_linear_layer_is_a_layer(graphs):
    kinds = Counter(layer.split(".")[0] for layer in list_layers(graphs))
    assert kinds["backbone"] == 16
    assert kinds["transformers"] == 24


def test_each_classify_graph_is_at_most_30_hundredths_of_fp32s_size(graphs, quantized):
    fp32 = graphs["classify"].ByteSize()
    for models in quantized.values():
        assert models["classify"].ByteSize() <= 0.30 * fp32


def test_nvidia_gets_the_shortcut_of_every_residual_addition_quantized(graphs):
    graph = graphs["classify"].graph
    additions = {node.name for node in graph.node if node.op_type == "Add" and "backbone" in node.name}
    tensors = plan_placement(graph, TRT).tensors
    shortcuts = {
        name: tensor.readers & additions for name, tensor in tensors.items() if tensor.readers & additions
    }
    assert set().union(*shortcuts.values()) == additions
    assert len(shortcuts) == 4


def test_onnxruntime_computes_the_backbone_in_integers_from_end_to_end(quantized, tmp_path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    model = quantized[ORT]["classify"]
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert operators["QLinearConv"] == 16
    assert operators["QLinearAdd"] == 4
    assert operators["QLinearLeakyRelu"] == 12
    assert operators["Conv"] == 0


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.variant)
def test_statistics_stay_close_to_fp32s(graphs, quantized, drawn, dialect):
    photos = np.stack([drawn[c][0].pixels for c in range(2)])
    (name,) = [value.name for value in graphs["enroll"].graph.output if value.name == "support_gram"] or [
        graphs["enroll"].graph.output[0].name
    ]
    exact, found = (
        open_session(model, threads=1).run([name], {"images": photos})[0]
        for model in (graphs["enroll"], quantized[dialect]["enroll"])
    )
    assert np.linalg.norm(found - exact) < 0.2 * np.linalg.norm(exact)
