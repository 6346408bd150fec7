"""INT8 on EfficientNet-Lite: depthwise convolutions, ReLU6, inverted residuals, projected levels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from hmdrn_calibration.quantization.activation_observer import observe_activations
from hmdrn_calibration.quantization.layers import list_layers, load_photo_graphs
from hmdrn_calibration.quantization.ort_session import open_session
from hmdrn_calibration.quantization.qdq_placement import DIALECTS, ORT, TRT, plan_placement
from hmdrn_calibration.quantization.qdq_writer import quantize_graph
from hmdrn_calibration.quantization.ranges import METHODS
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.specimens.drawing import draw_specimens

pytestmark = pytest.mark.slow

SIDE = 64


class Drawing:
    """A drawn specimen as the network's input."""

    def __init__(self, pixels):
        self.pixels = pixels

    def prepare(self, preprocessing):
        return self.pixels


@pytest.fixture(scope="module")
def specimens():
    return [[Drawing(image) for image in images] for images in draw_specimens(range(3), 4, size=SIDE)]


@pytest.fixture(scope="module")
def graphs(exported):
    return load_photo_graphs(open_bundle(exported("efficientnet-lite0", "ridge")))


@pytest.fixture(scope="module")
def quantized(graphs, specimens):
    crop = Preprocessing("crop", SIDE)
    histograms = observe_activations(graphs, specimens, crop, EpisodeSetting(2, 1, 2, 2))

    def quantize(dialect):
        ranges = {name: METHODS["minmax"](h, dialect.symmetric) for name, h in histograms.items()}
        return {name: quantize_graph(model, ranges, dialect) for name, model in graphs.items()}

    return {dialect: quantize(dialect) for dialect in DIALECTS}


def test_every_convolution_and_linear_layer_is_a_layer(graphs):
    kinds = Counter(layer.split(".")[0] for layer in list_layers(graphs))
    assert kinds == {"backbone": 48, "projections": 2, "transformers": 24}


def test_nvidia_gets_the_shortcut_of_every_residual_addition_quantized(graphs):
    graph = graphs["classify"].graph
    additions = {node.name: node for node in graph.node if node.op_type == "Add" and "backbone" in node.name}
    assert len(additions) == 9
    tensors = plan_placement(graph, TRT).tensors
    for name, node in additions.items():
        shortcut, main = node.input
        assert name in tensors[shortcut].readers
        assert main.endswith("project_norm/Conv")
        assert main not in tensors


def test_onnxruntime_computes_backbone_and_projections_in_integers(quantized, tmp_path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    model = quantized[ORT]["classify"]
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert (operators["QLinearConv"], operators["QLinearAdd"]) == (50, 9)
    assert not {"Clip", "Conv"} & operators.keys()


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.variant)
def test_statistics_stay_close_to_float32s(graphs, quantized, specimens, dialect):
    photos = np.stack([photos[0].pixels for photos in specimens])
    exact, rounded = (
        open_session(model, threads=1).run(["support_gram"], {"images": photos})[0]
        for model in (graphs["enroll"], quantized[dialect]["enroll"])
    )
    assert 0 < np.linalg.norm(rounded - exact) < 0.2 * np.linalg.norm(exact)
