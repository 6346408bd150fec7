from __future__ import annotations

import itertools

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_export.graphs.modules import Solve, traces
from hmdrn_export.graphs.solve import STEPS, newton_schulz
from hmdrn_export.graphs.tracing import trace
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN

EPSILON = 2.0**-24
SPECTRA = {
    "geometric": lambda condition, d: np.geomspace(1, condition, d),
    "one large": lambda condition, d: np.r_[np.ones(d - 1), condition],
    "half and half": lambda condition, d: np.repeat([1.0, condition], [d // 2, d - d // 2]),
    "one small": lambda condition, d: np.r_[1, np.full(d - 1, condition)],
}


def symmetric(
    spectrum: str, condition: float, d: int, lam: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """G and A = G + lam I in float64, where A's eigenvalues are lam times the spectrum."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
    gram = (basis * (lam * (SPECTRA[spectrum](condition, d) - 1))) @ basis.T
    gram = (gram + gram.T) / 2
    return gram, gram + lam * np.eye(d)


def solved(gram: np.ndarray, lam: float, dtype: torch.dtype = torch.float32) -> tuple[np.ndarray, float]:
    """X in float64, and the residual, of one matrix."""
    with torch.inference_mode():
        X, residual = newton_schulz(
            torch.tensor(gram, dtype=dtype)[None], torch.full((1, 1, 1), lam, dtype=dtype)
        )
    assert X.dtype == residual.dtype == dtype
    assert residual.shape == (1,)
    return X[0].double().numpy(), residual.item()


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("condition", [1.0, 10.0, 1e3, 1e5])
def test_24_steps_are_enough_up_to_a_condition_of_1e5(spectrum, condition):
    # In float64, so that rounding does not hide whether the iteration has converged.
    assert STEPS == 24
    gram, A = symmetric(spectrum, condition, 64, 3.7)
    X, residual = solved(gram, 3.7, torch.float64)
    assert residual < 1e-8
    np.testing.assert_allclose(X, 3.7 * np.linalg.inv(A), rtol=0, atol=1e-8)


@pytest.mark.parametrize("condition", [1e9, 1e12])
def test_a_solve_that_did_not_converge_has_a_residual_near_1(condition):
    gram, _ = symmetric("half and half", condition, 64, 1.0)
    for dtype in (torch.float32, torch.float64):
        _, residual = solved(gram, 1.0, dtype)
        assert residual > 0.2


@pytest.mark.parametrize(
    ("d", "spectrum", "condition"),
    [
        *itertools.product((64, 320), SPECTRA, (2.0, 10.0, 1e2, 1e3, 1e4, 1e5)),
        *itertools.product((640,), ("one large", "half and half"), (2.0, 10.0, 1e5)),
    ],
)
def test_h_in_float32_is_right_to_8_k_half_units_and_nearly_as_right_as_by_cholesky(d, spectrum, condition):
    lam = 3.7
    gram, A = symmetric(spectrum, condition, d, lam)
    H = np.linalg.solve(A, gram)
    X, _ = solved(gram, lam)
    single = torch.tensor(A, dtype=torch.float32)
    by_cholesky = torch.cholesky_inverse(torch.linalg.cholesky(single)).double().numpy()
    error, cholesky = (np.linalg.norm(np.eye(d) - shrinkage - H) for shrinkage in (X, lam * by_cholesky))
    # Storing X's d diagonal entries near 1 costs half a unit each, which shows below k = 3 alone.
    assert error <= EPSILON * max(8 * condition * np.linalg.norm(H), np.sqrt(d) / 2)
    assert error <= 8 * max(cholesky, condition * EPSILON)


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("condition", [10.0, 1e3, 1e5])
def test_the_residual_is_the_largest_entry_of_identity_minus_a_x(spectrum, condition):
    single = symmetric(spectrum, condition, 64, 2.0)[0].astype(np.float32)
    X, residual = solved(single, 2.0)
    exact = np.abs(np.eye(64) - X - single.astype(np.float64) / 2 @ X).max()
    # It is formed in float32, from products of up to |A| |X| = k; rounding alone is what is left of it here.
    assert residual == pytest.approx(exact, abs=4 * EPSILON * condition)
    assert residual > 0
    hopeless, _ = symmetric(spectrum, 1e9, 64, 2.0)
    assert solved(hopeless, 2.0)[1] > max(0.2, 20 * residual)


def test_matrices_of_a_batch_are_solved_each_by_itself_with_its_own_lambda():
    lams = [0.5, 3.0, 40.0]
    conditions = [10, 1e3, 1e5]
    grams = [symmetric("geometric", k, 32, lam)[0] for k, lam in zip(conditions, lams, strict=True)]
    with torch.inference_mode():
        X, residual = newton_schulz(
            torch.tensor(np.stack(grams), dtype=torch.float32),
            torch.tensor(lams, dtype=torch.float32)[:, None, None],
        )
    assert residual.shape == (3,)
    for i, (gram, lam) in enumerate(zip(grams, lams, strict=True)):
        alone, _ = solved(gram, lam)
        tolerance = 4 * conditions[i] * EPSILON
        exact = lam * np.linalg.inv(gram + lam * np.eye(32))
        np.testing.assert_allclose(X[i].double().numpy(), alone, rtol=0, atol=tolerance)
        np.testing.assert_allclose(X[i].double().numpy(), exact, rtol=0, atol=tolerance)
    assert residual[0] < residual[1] < residual[2]


@settings(deadline=None, max_examples=50)
@given(
    d=st.integers(1, 24),
    rank=st.integers(0, 30),
    condition=st.floats(1, 1e4),
    lam=st.floats(1e-6, 1e4),
    seed=st.integers(0, 2**31),
)
def test_the_inverse_of_any_gram_matrix_of_any_size_and_rank(d, rank, condition, lam, seed):
    S = np.random.default_rng(seed).standard_normal((rank, d))
    gram = S.T @ S
    largest = np.linalg.eigvalsh(gram)[-1] if rank else 0.0
    if largest > 0:
        gram *= (condition - 1) * lam / largest
    A = gram + lam * np.eye(d)
    X, residual = solved(gram, lam, torch.float64)
    assert residual < 1e-9
    np.testing.assert_allclose(X, lam * np.linalg.inv(A), rtol=0, atol=1e-8)


@pytest.fixture(scope="module")
def solve_graph():
    """The solve of a network whose alpha and beta differ from level to level: the graph and the network."""
    network = HMDRN(NetworkConfig("conv4", "ridge")).eval()
    with torch.no_grad():
        for name, alpha, beta in (("high", 1.5, -0.35), ("mid", 2.5, -0.8)):
            network.heads[name].alpha.fill_(alpha)
            network.heads[name].beta.fill_(beta)
    (job,) = [job for job in traces(network) if isinstance(job.module, Solve)]
    model = trace(job, {})["solve"]
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]), network


@pytest.mark.parametrize("shots", [(1,), (1, 5, 20), (3, 3)])
def test_the_graph_gives_the_operator_for_any_alpha_and_beta_and_shots_side_by_side(solve_graph, shots):
    session, network = solve_graph
    rng, rows, expected = np.random.default_rng(0), [], []
    for count in shots:
        packed, operators = [], []
        for level in network.config.level_specs:
            d, n = level.channels, count * level.tokens
            head = network.heads[level.name]
            S = rng.standard_normal((n, d))
            lam = n / d * np.exp(head.alpha.item()) + 1e-6
            H = np.linalg.solve(S.T @ S + lam * np.eye(d), S.T @ S)
            W = np.eye(d) - np.exp(head.beta.item()) * H
            triangle = np.triu_indices(d)
            packed.append((S.T @ S)[triangle])
            operators.append((W @ W)[triangle] * np.where(np.equal(*triangle), 1, 2))
        rows.append(np.concatenate(packed))
        expected.append(np.concatenate(operators))
    inputs = {"gram": np.array(rows, np.float32), "shots": np.array(shots, np.float32)}
    operator, residual = session.run(["operator", "residual"], inputs)
    assert operator.shape == (len(shots), sum(level.packed for level in network.config.level_specs))
    np.testing.assert_allclose(operator, expected, rtol=0, atol=1e-5)
    assert residual.max() < 1e-4
