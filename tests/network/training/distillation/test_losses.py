from __future__ import annotations

import numpy as np
import pytest
import torch

from hmdrn_network.training.distillation.trainer import answer_distance, feature_distance, relation_distance


def test_answer_distance_is_the_mean_divergence_of_the_probabilities():
    logits, answers = np.random.default_rng(2).normal(size=(2, 5, 4))
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (answers, logits))
    expected = (p * np.log(p / q)).sum(axis=1).mean()
    assert answer_distance(torch.from_numpy(logits), torch.from_numpy(answers)).item() == pytest.approx(
        expected
    )


def test_feature_distance_is_one_minus_the_mean_cosine():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 7))
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert feature_distance(torch.from_numpy(a), torch.from_numpy(b)).item() == pytest.approx(
        1 - cosines.mean()
    )


def test_relation_distance_compares_cosines_of_pairs():
    rng = np.random.default_rng(1)
    student, features = rng.normal(size=(6, 3)), rng.normal(size=(6, 9))
    centered = student - student.mean(axis=0)

    def cosine(x: np.ndarray, i: int, j: int) -> float:
        return x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j])

    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    expected = np.mean([(cosine(centered, i, j) - cosine(features, i, j)) ** 2 for i, j in pairs])
    got = relation_distance(torch.from_numpy(student), torch.from_numpy(features))
    assert got.item() == pytest.approx(expected)


def test_a_rotated_copy_of_the_centered_features_has_no_distance():
    features = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features -= features.mean(dim=0)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    assert relation_distance(3 * features @ rotation, features).item() == pytest.approx(0, abs=1e-12)
