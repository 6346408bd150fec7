from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.quant_utils import compute_scale_zp, quantize_data

from hmdrn_calibration.quantization.affine import fit_grid, quantize_weight
from hmdrn_calibration.quantization.histograms import Range

RANGES = [(0.0, 6.0), (-1.0, 3.0), (-2.5, -0.5), (0.5, 2.0), (-7.0, 6.0), (-1e-3, 2e-5)]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_a_grid_is_what_onnxruntimes_quantizer_makes_of_the_range(low, high, symmetric):
    made = fit_grid(Range(low, high), symmetric)
    limits = [np.array(q, made.dtype) for q in ((-127, 127) if symmetric else (0, 255))]
    ends = np.array(low, np.float32), np.array(high, np.float32)
    zero_point, scale = compute_scale_zp(*ends, *limits, symmetric=symmetric)
    assert made.zero_point == zero_point
    assert made.scale == pytest.approx(float(scale), rel=1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_rounding_is_quantizelinear_and_dequantizelinear(low, high, symmetric):
    made = fit_grid(Range(low, high), symmetric)
    x = np.linspace(low - 1, high + 1, 500, dtype=np.float32)
    constants = [
        numpy_helper.from_array(np.float32(made.scale), "scale"),
        numpy_helper.from_array(np.array(made.zero_point, made.dtype), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [500]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "pair", values[:1], values[1:], constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    (found,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    # A value halfway between two steps may fall to either in float32.
    differing = np.abs(found - made.fake_quantize(x)) > made.scale / 2
    assert differing.mean() < 0.01
    assert np.abs(found - made.fake_quantize(x)).max() <= 1.01 * made.scale


def test_zero_is_on_every_grid():
    for low, high in RANGES:
        for symmetric in (False, True):
            assert fit_grid(Range(low, high), symmetric).fake_quantize(np.zeros(1))[0] == 0


def test_a_tensor_that_is_always_zero_has_a_usable_grid():
    assert fit_grid(Range(0.0, 0.0), False).scale == fit_grid(Range(0.0, 0.0), True).scale == 1.0


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_quantized_by_channel_as_onnxruntimes_quantizer_does(axis):
    weight = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    q, scales = quantize_weight(weight, axis)
    for channel in range(weight.shape[axis]):
        part = weight.take(channel, axis)
        _, scale, expected = quantize_data(part, QuantType.QInt8.tensor_type, True)
        assert scales[channel] == pytest.approx(float(scale), rel=1e-6)
        np.testing.assert_array_equal(q.take(channel, axis), expected)


def test_a_channel_without_weights_has_a_usable_scale():
    q, scales = quantize_weight(np.zeros((2, 3, 1, 1), np.float32), 0)
    assert not q.any()
    np.testing.assert_array_equal(scales, [1, 1])


def test_scales_do_not_undercut_what_is_asked_for():
    _, scales = quantize_weight(np.array([[1e-3], [1.0]], np.float32), 0, np.array([0.5, 0.0]))
    np.testing.assert_allclose(scales, [0.5, 1 / 127], rtol=1e-6)


def test_no_weight_is_minus_128_which_some_arm_kernels_cannot_add_exactly():
    """-128 * -128 twice exceeds 16 bits: without SDOT ONNX Runtime adds pairs of products in them."""
    rng = np.random.default_rng(0)
    for scale in (1e-30, 1e-3, 1.0, 1e30):
        weight = (rng.standard_normal((8, 40)) * scale).astype(np.float32)
        weight[:, 0] = -np.abs(weight).max(axis=1) * np.float32(1 + 1e-7)  # the largest is negative
        assert quantize_weight(weight, axis=0)[0].min() == -127
        assert quantize_weight(weight, axis=0, min_scale=0.0)[0].max() <= 127
