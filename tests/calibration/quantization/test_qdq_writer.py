"""Q/DQ arithmetic beside plain NumPy: every operator of a block computed once more from its definition."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hmdrn_calibration.quantization.affine import grid
from hmdrn_calibration.quantization.ort_session import open_session
from hmdrn_calibration.quantization.qdq_placement import DIALECTS, ORT, TRT
from hmdrn_calibration.quantization.qdq_writer import quantise
from hmdrn_calibration.quantization.ranges import Range


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


def rounding(dialect, ranges, quantised):
    """What readers get: weights and tensors rounded to their grids, by the ONNX standard's words."""

    def at(name, tensor):
        if name.endswith(".weight"):
            axes = (1, 2, 3) if tensor.ndim == 4 else (0,)
            scale = np.abs(tensor).max(axis=axes, keepdims=True) / 127
            return np.round(tensor / scale) * scale
        if name not in quantised:
            return tensor
        made = ranges[quantised[name]]
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
def test_a_quantised_block_computes_what_numpy_does(
    residual, images, constants, ranges, dialect, names, integer_kernels
):
    quantised = {name: "last" if name == "pooled" else name for name in names.split()}
    model = quantise(residual, ranges, dialect)
    session = open_session(model, threads=1, integer_kernels=integer_kernels)
    (found,) = session.run(None, {"images": images})
    exact = block(images.astype(np.float64), constants, lambda name, tensor: tensor)
    expected = block(images.astype(np.float64), constants, rounding(dialect, ranges, quantised))
    rounded_by = np.sqrt(np.mean((expected - exact) ** 2))
    # A value halfway between two steps may fall to either: a few do, and move what depends on them.
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.4 * rounded_by
    assert np.median(np.abs(found - expected)) < 0.1 * rounded_by


def test_nothing_is_changed_in_the_graph_that_is_quantised(residual, ranges):
    before = residual.SerializeToString(deterministic=True)
    for dialect in DIALECTS:
        quantise(residual, ranges, dialect)
    assert residual.SerializeToString(deterministic=True) == before


def test_the_same_ranges_give_the_same_bytes(residual, ranges):
    for dialect in DIALECTS:
        once, again = (quantise(residual, ranges, dialect).SerializeToString() for _ in range(2))
        assert once == again


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.variant)
def test_layers_hold_their_weights_in_int8_alone(residual, ranges, dialect):
    graph = quantise(residual, ranges, dialect, kept=["linear"]).graph
    types = {c.name: c.data_type for c in graph.initializer}
    assert types["first.weight/q"] == onnx.TensorProto.INT8
    assert "first.weight" not in types
    assert types["linear.weight"] == onnx.TensorProto.FLOAT


def test_biases_are_int32_for_onnxruntime_and_float32_for_nvidia(residual, ranges):
    types = {
        dialect.variant: {c.name: c.data_type for c in quantise(residual, ranges, dialect).graph.initializer}
        for dialect in DIALECTS
    }
    assert types["int8-ort"]["first.bias/q"] == onnx.TensorProto.INT32
    assert types["int8-trt"]["first.bias"] == onnx.TensorProto.FLOAT


def test_nvidias_dialect_has_no_zero_point_but_zero(residual, ranges):
    graph = quantise(residual, ranges, TRT).graph
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
    model = quantise(residual, ranges, ORT)
    q = next(numpy_helper.to_array(c) for c in model.graph.initializer if c.name == "first.bias/q")
    scale = next(numpy_helper.to_array(c) for c in model.graph.initializer if c.name == "first.bias/scale")
    bias = next(numpy_helper.to_array(c) for c in residual.graph.initializer if c.name == "first.bias")
    np.testing.assert_allclose(q * scale.astype(np.float64), bias, rtol=1e-5)


def test_a_grid_of_its_own_range_is_what_a_pair_has(residual, ranges):
    graph = quantise(residual, ranges, ORT).graph
    scale = next(numpy_helper.to_array(c) for c in graph.initializer if c.name == "leaky/scale")
    assert float(scale) == grid(ranges["leaky"].low, ranges["leaky"].high, False).scale
