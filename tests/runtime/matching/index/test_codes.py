"""Products of 8-bit codes are exact, and their bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.matching.index import codes
from hmdrn_runtime.matching.index.codes import PhotoCodes, empty_codes, estimate_products, write_codes


def norms(rows: np.ndarray) -> float:
    return float(np.linalg.norm(rows, axis=1).max())


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 70),
    count=st.integers(1, 600),
    exponent=st.integers(-12, 12),
    section=st.sampled_from([16, 2**17]),
    seed=st.integers(0, 10**6),
)
def test_products_are_within_their_bounds_at_any_size(size, count, exponent, section, seed):
    random = np.random.default_rng(seed)
    operators = random.standard_normal((count, size)) * 10.0**exponent
    photo = random.standard_normal(size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "_SECTION", section)
        stored = empty_codes(count + 3, size)
        terms = write_codes(stored, 0, operators.copy(), norms(operators))
        estimates, bounds = estimate_products(stored, terms, PhotoCodes.quantize(photo))
    assert (np.abs(estimates - operators @ photo) <= bounds).all()
    assert (bounds <= 0.05 * norms(operators) * np.linalg.norm(photo) * np.sqrt(size)).all()


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1)])
def test_the_largest_codes_are_multiplied_without_overflow(signs):
    # Where a processor adds two products in 16 bits, or wide rows exceed 32 bits, the sum would be wrong.
    size = 2**17 + 5
    operators, photo = np.full((1, size), signs[0] * 63.0), np.full(size, signs[1] * 127.0)
    stored = empty_codes(1, size)
    terms = write_codes(stored, 0, operators.copy(), norms(operators))
    estimates, _ = estimate_products(stored, terms, PhotoCodes.quantize(photo))
    assert estimates[0] == pytest.approx(signs[0] * signs[1] * 63 * 127 * size, rel=1e-12)


def test_operators_of_zeros_and_black_photos_are_no_special_case():
    stored = empty_codes(2, 9)
    terms = write_codes(stored, 0, np.zeros((2, 9)), 0.0)
    estimates, bounds = estimate_products(stored, terms, PhotoCodes.quantize(np.zeros(9)))
    assert estimates.tolist() == bounds.tolist() == [0, 0]


def test_the_graph_is_one_product_of_bytes():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(codes._MODEL)
    assert [(node.op_type, *node.input) for node in model.graph.node] == [("MatMulInteger", "a", "b")]
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 10)]
    kinds = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert kinds == [onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32]
