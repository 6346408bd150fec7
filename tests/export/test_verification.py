"""Errors of distances, relative to the distances or to the terms that cancel in them."""

from __future__ import annotations

import numpy as np
import pytest

from hmdrn_export.verification.report import TOLERANCES
from hmdrn_export.verification.verifier import CANCELLED, relative_errors

SQUARES = np.array([16_000.0])
ALLOWED = TOLERANCES["fp32"].distance


def test_errors_are_relative_to_the_distance():
    errors = relative_errors(np.array([[202.0, 99.9]]), np.array([[200.0, 100.0]]), SQUARES)
    assert errors == pytest.approx(np.array([[0.01, 0.001]]))


@pytest.mark.parametrize("seed", range(5))
def test_float32_rounding_where_large_terms_cancel_is_tolerated(seed):
    """A photo reconstructed to a thousandth of its square, as by untrained networks."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(25, 1)) * rng.normal(size=640) + 0.03 * rng.normal(size=(25, 640))
    tokens *= np.sqrt(16_000 / np.square(tokens).sum())
    direction = np.linalg.svd(tokens, full_matrices=False)[2][0]
    W = np.eye(640) - 0.98 * np.outer(direction, direction)
    gram, operator = tokens.T @ tokens, W @ W
    expected = np.array([[np.sum(gram * operator)]])
    found = np.array([[np.sum(gram.astype(np.float32) * operator.astype(np.float32), dtype=np.float32)]])
    assert expected[0, 0] < CANCELLED * SQUARES[0]
    assert relative_errors(found, expected, SQUARES).max() < ALLOWED


def test_a_wrong_operator_is_found_where_large_terms_cancel():
    assert relative_errors(np.array([[20.5]]), np.array([[20.0]]), SQUARES).max() > ALLOWED
