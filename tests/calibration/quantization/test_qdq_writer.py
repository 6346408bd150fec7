"""Q/DQ arithmetic beside plain NumPy: every operator of a block computed once more from its definition."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from hmdrn_calibration.quantization.affine import fit_grid
from hmdrn_calibration.quantization.histograms import Range
from hmdrn_calibration.quantization.ort_session import extract_outputs, open_session
from hmdrn_calibration.quantization.qdq_placement import DIALECTS, ORT, TRT, list_observed_tensors
from hmdrn_calibration.quantization.qdq_writer import quantize_graph


def convolved(x, weight, bias):
    """A convolution by sums over the kernel, in float64."""
    k = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    height, width = x.shape[2:]
    total = np.zeros((len(x), len(weight), height, width))
    for i in range(k):
        for j in range(k):
            window = padded[:, :, i : i + height, j : j + width]
            total += np.einsum("nchw,oc->nohw", window, weight[:, :, i, j])
    return total + bias[None, :, None, None]


def block(x, constants, at):
    """The residual block of the fixture; `at(name, tensor)` is what each reader gets."""

    def conv(name, source):
        return convolved(source, at(f"{name}.weight", constants[f"{name}.weight"]), constants[f"{name}.bias"])

    def leaky(t):
        return np.where(t > 0, t, 0.1 * t)

    images = at("images", x)
    first = at("leaky", leaky(at("first", conv("first", images))))
    total = at("second", conv("second", first)) + at("shortcut", conv("shortcut", images))
    last = at("last", leaky(at("sum", total)))
    n, c, h, w = last.shape
    pooled = at("pooled", last.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5)))
    tokens = pooled.reshape(-1, 16)
    weight = at("linear.weight", constants["linear.weight"])
    return at("tokens", tokens) @ weight + tokens


@pytest.fixture
def images():
    return np.random.default_rng(5).standard_normal((3, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def constants(residual):
    return {c.name: numpy_helper.to_array(c).astype(np.float64) for c in residual.graph.initializer}


@pytest.fixture
def ranges(images, constants):
    found = {}

    def see(name, tensor):
        found[name] = Range(float(tensor.min()), float(tensor.max()))
        return tensor

    block(images.astype(np.float64), constants, see)
    return found


def rounding(dialect, ranges, quantized):
    """What readers get: weights and tensors rounded to their grids, by the ONNX standard's words."""

    def at(name, tensor):
        if name.endswith(".weight"):
            axes = (1, 2, 3) if tensor.ndim == 4 else (0,)
            scale = np.abs(tensor).max(axis=axes, keepdims=True) / 127
            return np.round(tensor / scale) * scale
        if name not in quantized:
            return tensor
        made = ranges[quantized[name]]
        low, high = min(made.low, 0), max(made.high, 0)
        if dialect.symmetric:
            scale = max(-low, high) / 127
            return np.clip(np.round(tensor / scale), -128, 127) * scale
        scale = (high - low) / 255
        zero = np.round(-low / scale)
        return (np.clip(np.round(tensor / scale) + zero, 0, 255) - zero) * scale

    return at


@pytest.mark.parametrize(
    ("dialect", "names"),
    [
        (ORT, "images first leaky second shortcut sum last pooled tokens"),
        (TRT, "images leaky shortcut tokens"),
    ],
    ids=["int8-ort", "int8-trt"],
)
@pytest.mark.parametrize("integer_kernels", [False, True])
def test_a_quantized_block_computes_what_numpy_does(
    residual, images, constants, ranges, dialect, names, integer_kernels
):
    quantized = {name: "last" if name == "pooled" else name for name in names.split()}
    model = quantize_graph(residual, ranges, dialect)
    session = open_session(model, threads=1, integer_kernels=integer_kernels)
    (found,) = session.run(None, {"images": images})
    exact = block(images.astype(np.float64), constants, lambda name, tensor: tensor)
    expected = block(images.astype(np.float64), constants, rounding(dialect, ranges, quantized))
    rounded_by = np.sqrt(np.mean((expected - exact) ** 2))
    # A value halfway between two steps may fall to either: a few do, and move what depends on them.
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.4 * rounded_by
    assert np.median(np.abs(found - expected)) < 0.1 * rounded_by


@pytest.fixture
def inverted_ranges(inverted, images):
    names = sorted(list_observed_tensors(inverted.graph))
    tensors = open_session(extract_outputs(inverted, names), threads=1).run(names, {"images": images})
    return {n: Range(float(t.min()), float(t.max())) for n, t in zip(names, tensors, strict=True)}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.variant)
def test_depthwise_weights_have_a_scale_for_each_channel(inverted, inverted_ranges, dialect):
    graph = quantize_graph(inverted, inverted_ranges, dialect).graph
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    weights = {c.name: numpy_helper.to_array(c) for c in inverted.graph.initializer}
    for block in ("a", "b"):
        scales, q = constants[f"{block}.depthwise.weight/scale"], constants[f"{block}.depthwise.weight/q"]
        weight = weights[f"{block}.depthwise.weight"]
        np.testing.assert_allclose(scales, np.abs(weight).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
        assert (np.abs(q).max(axis=(1, 2, 3)) == 127).all()


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.variant)
def test_inverted_residuals_stay_close_to_float32(inverted, inverted_ranges, images, dialect):
    (exact,) = open_session(inverted, threads=1).run(None, {"images": images})
    model = quantize_graph(inverted, inverted_ranges, dialect)
    (found,) = open_session(model, threads=1).run(None, {"images": images})
    assert 0 < np.abs(found - exact).mean() < 0.02


def test_onnxruntime_computes_relu6_within_its_integer_convolutions(inverted, inverted_ranges, tmp_path):
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    model = quantize_graph(inverted, inverted_ranges, ORT)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert (operators["QLinearConv"], operators["QLinearAdd"]) == (7, 1)
    assert not {"Clip", "Conv", "Add"} & operators.keys()


def test_nothing_is_changed_in_the_graph_that_is_quantized(residual, ranges):
    before = residual.SerializeToString(deterministic=True)
    for dialect in DIALECTS:
        quantize_graph(residual, ranges, dialect)
    assert residual.SerializeToString(deterministic=True) == before


def test_the_same_ranges_give_the_same_bytes(residual, ranges):
    for dialect in DIALECTS:
        once, again = (quantize_graph(residual, ranges, dialect).SerializeToString() for _ in range(2))
        assert once == again


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.variant)
def test_layers_hold_their_weights_in_int8_alone(residual, ranges, dialect):
    graph = quantize_graph(residual, ranges, dialect, float32_layers=["linear"]).graph
    types = {c.name: c.data_type for c in graph.initializer}
    assert types["first.weight/q"] == onnx.TensorProto.INT8
    assert "first.weight" not in types
    assert types["linear.weight"] == onnx.TensorProto.FLOAT


def test_biases_are_int32_for_onnxruntime_and_float32_for_nvidia(residual, ranges):
    types = {
        dialect.variant: {
            c.name: c.data_type for c in quantize_graph(residual, ranges, dialect).graph.initializer
        }
        for dialect in DIALECTS
    }
    assert types["int8-ort"]["first.bias/q"] == onnx.TensorProto.INT32
    assert types["int8-trt"]["first.bias"] == onnx.TensorProto.FLOAT


def test_nvidias_dialect_has_no_zero_point_but_zero(residual, ranges):
    graph = quantize_graph(residual, ranges, TRT).graph
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) >= 8
    for node in pairs:
        assert constants[node.input[2]].dtype == np.int8
        assert not constants[node.input[2]].any()


def test_a_bias_that_dwarfs_its_weights_stays_within_int32(residual, ranges, images):
    for constant in residual.graph.initializer:
        if constant.name == "first.weight":
            constant.CopyFrom(
                numpy_helper.from_array(np.full((8, 3, 3, 3), 1e-12, np.float32), constant.name)
            )
    model = quantize_graph(residual, ranges, ORT)
    q = next(numpy_helper.to_array(c) for c in model.graph.initializer if c.name == "first.bias/q")
    scale = next(numpy_helper.to_array(c) for c in model.graph.initializer if c.name == "first.bias/scale")
    bias = next(numpy_helper.to_array(c) for c in residual.graph.initializer if c.name == "first.bias")
    np.testing.assert_allclose(q * scale.astype(np.float64), bias, rtol=1e-5)


def test_a_grid_of_its_own_range_is_what_a_pair_has(residual, ranges):
    graph = quantize_graph(residual, ranges, ORT).graph
    scale = next(numpy_helper.to_array(c) for c in graph.initializer if c.name == "leaky/scale")
    assert float(scale) == fit_grid(ranges["leaky"], False).scale
