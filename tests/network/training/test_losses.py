from __future__ import annotations

import numpy as np
import pytest
import torch

from hmdrn_network.training.trainer import support_overlap


def test_overlap_is_the_mean_squared_cosine_of_tokens_of_different_classes():
    rng = np.random.default_rng(0)
    levels = {"high": rng.standard_normal((3, 4, 6)), "mid": rng.standard_normal((3, 5, 6))}
    expected = 0.0
    for tokens in levels.values():
        unit = tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)
        pairs = [np.mean((unit[i] @ unit[j].T) ** 2) for i in range(3) for j in range(3) if i != j]
        expected += np.mean(pairs)
    value = support_overlap({name: torch.tensor(tokens) for name, tokens in levels.items()})
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_orthogonal_classes_do_not_overlap_and_equal_ones_do_wholly():
    basis = torch.eye(4, dtype=torch.float64)
    assert support_overlap({"high": torch.stack([basis[:1], basis[1:2]])}).item() == 0
    assert support_overlap({"high": torch.stack([basis[:1], 3 * basis[:1]])}).item() == pytest.approx(1)


def test_overlap_has_gradients():
    tokens = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: support_overlap({"high": t}), (tokens,))
