"""Loss and gradients of an episode against FP64 NumPy, which solves and differentiates in its own way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN

WAY, SHOT, QUERIES = 3, 2, 4
LEVELS = {"high": (64, 25), "mid": (64, 100)}


def numpy_loss(p: dict[str, np.ndarray], targets: np.ndarray) -> float:
    """Cross-entropy from support tokens, query tokens and scalars, in the letters of the papers."""
    total = np.zeros((QUERIES, WAY))
    for level, (d, _) in LEVELS.items():
        for c in range(WAY):
            S = p[f"support {level}"][c]
            lam = len(S) / d * np.exp(p[f"alpha {level}"]) + 1e-6
            # The n x n form of the solve (Woodbury), which the network never uses.
            inner = np.linalg.solve(S @ S.T + lam * np.eye(len(S)), S)
            for b, Q in enumerate(p[f"query {level}"]):
                reconstructed = np.exp(p[f"beta {level}"]) * Q @ S.T @ inner
                total[b, c] += p[f"weight {level}"] * np.sum((Q - reconstructed) ** 2)
    logits = -total * p["scale"] / (25 * 64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_probabilities[np.arange(QUERIES), targets].mean())


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    values = {"scale": np.array(3.0)}
    for level, (d, tokens) in LEVELS.items():
        values[f"support {level}"] = rng.standard_normal((WAY, SHOT * tokens, d))
        values[f"query {level}"] = rng.standard_normal((QUERIES, tokens, d))
        values[f"alpha {level}"] = rng.uniform(0.5, 2)
        values[f"beta {level}"] = rng.uniform(-0.5, 0.5)
        values[f"weight {level}"] = rng.uniform(0.5, 1.5)
    return values


def torch_loss(values: dict[str, np.ndarray], targets: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The network's own loss in float64 and its gradients, by the names of `values`."""
    network = HMDRN(NetworkConfig()).double()
    named = {"scale": network.fusion.scale}
    for level in LEVELS:
        named[f"weight {level}"] = network.fusion.weight[level]
        named[f"alpha {level}"] = network.heads[level].alpha
        named[f"beta {level}"] = network.heads[level].beta
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.fill_(float(values[name]))
    for level in LEVELS:
        for kind in ("support", "query"):
            named[f"{kind} {level}"] = torch.tensor(values[f"{kind} {level}"], requires_grad=True)
    distances = network.distances(
        {level: named[f"query {level}"] for level in LEVELS},
        {level: named[f"support {level}"] for level in LEVELS},
    )
    loss = F.cross_entropy(network.fusion(distances), torch.tensor(targets))
    gradients = torch.autograd.grad(loss, list(named.values()))
    return loss.item(), {name: g.numpy() for name, g in zip(named, gradients, strict=True)}


def test_loss_and_gradients_of_an_episode_match_numpy_in_double_precision(values):
    targets = np.array([0, 2, 1, 2])
    loss, gradients = torch_loss(values, targets)
    assert loss == pytest.approx(numpy_loss(values, targets), rel=1e-10)
    rng = np.random.default_rng(1)
    step = 1e-5
    for name, value in values.items():
        # All entries at once along a random direction.
        direction = rng.standard_normal(np.shape(value))
        direction /= np.linalg.norm(direction)
        ahead, behind = (numpy_loss({**values, name: value + s * direction}, targets) for s in (step, -step))
        slope = (ahead - behind) / (2 * step)
        assert np.sum(gradients[name] * direction) == pytest.approx(slope, rel=1e-5, abs=1e-9), name
