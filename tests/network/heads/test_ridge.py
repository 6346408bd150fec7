from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_network.heads.ridge import RidgeHead, doubled_off_diagonals, gram, pack, triangle, unpack

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
# Width and locations of a level, and the shots it is tried with.
CASES = [
    *((64, 25, shots) for shots in range(1, 21)),
    *((64, 100, shots) for shots in (1, 2, 5, 10)),
    *((320, 100, shots) for shots in (1, 3, 4, 5, 20)),
    *((640, 25, shots) for shots in (1, 5, 20)),
]


def tokens(seed: int, *shape: int) -> np.ndarray:
    """Correlated tokens of unit scale, some directions weak, as LayerNorm's are."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(shape[-1], shape[-1])) * np.geomspace(1, 1e-2, shape[-1])
    x = rng.normal(size=shape) @ mixing
    return x / x.std(axis=-1, keepdims=True)


def head(channels: int, alpha: float, beta: float, dtype: torch.dtype = torch.float64) -> RidgeHead:
    ridge = RidgeHead(channels, alpha).to(dtype)
    with torch.no_grad():
        ridge.alpha.fill_(alpha)
        ridge.beta.fill_(beta)
    return ridge.requires_grad_(False)


def reconstruction(Q: np.ndarray, S: np.ndarray, alpha: float, beta: float, form: str) -> float:
    """D in FP64, straight from the equations: `form` is "d x d" or "n x n" (Woodbury)."""
    n, d = S.shape
    lam, rho = n / d * np.exp(alpha) + 1e-6, np.exp(beta)
    if form == "d x d":
        weights = np.linalg.solve(S.T @ S + lam * np.eye(d), S.T @ S)
        reconstructed = rho * Q @ weights
    else:
        reconstructed = rho * (Q @ S.T) @ np.linalg.solve(S @ S.T + lam * np.eye(n), S)
    return float(np.square(Q - reconstructed).sum())


@pytest.mark.parametrize("form", ["d x d", "n x n"])
@pytest.mark.parametrize(("channels", "locations", "shots"), CASES)
def test_distances_are_those_of_direct_reconstruction(channels, locations, shots, form):
    alpha, beta = 1.3, 0.1
    Q = tokens(shots, 2, locations, channels)
    S = tokens(100 + shots, 2, shots * locations, channels)
    expected = np.array([[reconstruction(q, s, alpha, beta, form) for s in S] for q in Q])
    exact = head(channels, alpha, beta)(torch.from_numpy(Q), torch.from_numpy(S)).numpy()
    np.testing.assert_allclose(exact, expected, rtol=1e-10)
    single = head(channels, alpha, beta, torch.float32)(
        torch.from_numpy(Q).float(), torch.from_numpy(S).float()
    )
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-4)


@EXAMPLES
@given(
    d=st.integers(1, 8),
    n=st.integers(1, 20),
    alpha=st.floats(-6, 6),
    beta=st.floats(-1, 1),
    seed=st.integers(0, 2**32),
)
def test_distances_hold_for_any_alpha_and_beta(d, n, alpha, beta, seed):
    rng = np.random.default_rng(seed)
    Q, S = rng.normal(size=(3, d)), rng.normal(size=(n, d))
    ours = head(d, alpha, beta)(torch.from_numpy(Q)[None], torch.from_numpy(S)[None]).item()
    for form in ("d x d", "n x n"):
        np.testing.assert_allclose(ours, reconstruction(Q, S, alpha, beta, form), rtol=1e-7, atol=1e-9)


def test_lambda_grows_with_the_tokens_and_has_a_floor():
    n = torch.tensor([25.0, 100.0, 500.0], dtype=torch.float64)
    expected = np.array([25.0, 100.0, 500.0]) / 64 * np.exp(0.5) + 1e-6
    np.testing.assert_allclose(head(64, 0.5, 0.0).regularization(n).numpy(), expected, rtol=1e-14)
    assert head(64, -200.0, 0.0).regularization(n).tolist() == pytest.approx([1e-6] * 3)


def test_the_operator_is_the_square_of_identity_minus_rho_hat():
    d, n, alpha, beta = 12, 30, 0.4, -0.2
    S = tokens(3, n, d)
    G, lam = S.T @ S, n / d * np.exp(alpha) + 1e-6
    W = np.eye(d) - np.exp(beta) * np.linalg.solve(G + lam * np.eye(d), G)
    operator = head(d, alpha, beta).operator(torch.from_numpy(G)[None], torch.tensor([float(n)]).double())
    np.testing.assert_allclose(operator[0].numpy(), W @ W, rtol=0, atol=1e-13)


def test_classes_of_different_shots_share_a_batch():
    ridge = head(16, 0.3, 0.2)
    query = torch.from_numpy(tokens(0, 3, 5, 16))
    classes = [torch.from_numpy(tokens(s, 5 * s, 16)) for s in (1, 4, 20)]
    support = torch.full((3, 100, 16), 123.0, dtype=torch.float64)
    valid = torch.zeros(3, 100, dtype=torch.bool)
    for i, c in enumerate(classes):
        support[i, : len(c)], valid[i, : len(c)] = c, True
    alone = torch.cat([ridge(query, c[None]) for c in classes], dim=1)
    torch.testing.assert_close(ridge(query, support, valid), alone, rtol=1e-13, atol=0)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize(("channels", "locations"), [(64, 25), (64, 100), (320, 100), (640, 25)])
def test_padding_equals_unpadded(channels, locations, dtype, rtol):
    ridge = head(channels, 5.0, 0.05, dtype)
    query = torch.from_numpy(tokens(0, 3, locations, channels)).to(dtype)
    support = torch.from_numpy(tokens(1, 2, 2 * locations, channels)).to(dtype)
    plain = ridge(query, support)
    for extra in (1, 333):
        valid = torch.ones(2, 2 * locations + extra, dtype=torch.bool)
        valid[:, 2 * locations :] = False
        results = [
            ridge(query, torch.cat([support, torch.full((2, extra, channels), x, dtype=dtype)], 1), valid)
            for x in (1e4, -3.0)
        ]
        # The content of the padding changes no bit, its presence only the rounding.
        assert torch.equal(*results)
        torch.testing.assert_close(results[0], plain, rtol=rtol, atol=0)


def test_padding_may_lie_between_the_tokens():
    ridge = head(16, 0.0, 0.0)
    query, support = torch.from_numpy(tokens(0, 2, 5, 16)), torch.from_numpy(tokens(1, 2, 9, 16))
    valid = torch.tensor([[True, False, True] * 3, [False, True, True] * 3])
    packed = torch.stack([s[v] for s, v in zip(support, valid, strict=True)])
    torch.testing.assert_close(ridge(query, support, valid), ridge(query, packed), rtol=1e-13, atol=0)


@EXAMPLES
@given(
    d=st.integers(1, 12),
    n=st.integers(1, 30),
    alpha=st.floats(-4, 8),
    beta=st.floats(-3, 0),
    seed=st.integers(0, 99),
)
def test_a_distance_lies_between_zero_and_the_querys_own_square(d, n, alpha, beta, seed):
    rng = np.random.default_rng(seed)
    Q, S = rng.normal(size=(2, 4, d)), rng.normal(size=(3, n, d))
    D = head(d, alpha, beta)(torch.from_numpy(Q), torch.from_numpy(S)).numpy()
    squares = np.square(Q).sum(axis=(1, 2))[:, None]
    assert (-1e-12 * squares <= D).all()
    assert (squares * (1 + 1e-12) >= D).all()


@pytest.mark.parametrize("alpha", [5.0, 0.0, -5.0, -10.0])
@pytest.mark.parametrize("shots", [1, 5])
def test_a_distance_in_single_precision_is_never_negative(alpha, shots):
    # As RidgeHead.forward states; the query is one of the support photos, so that D is near 0.
    generator = torch.Generator().manual_seed(0)
    support = torch.randn(3, 25 * shots, 64, generator=generator)
    D = head(64, alpha, 0.0, torch.float32)(support[:, :25], support)
    assert (D >= 0).all(), D


def test_a_photo_of_the_class_is_reconstructed_without_a_penalty():
    support = torch.from_numpy(tokens(2, 1, 40, 16))
    assert head(16, -30.0, 0.0)(support[:, :10], support).item() < 1e-8
    # Shrunk by rho, what is left is (1 - rho)^2 of the square.
    left = head(16, -30.0, -0.5)(support[:, :10], support).item()
    assert left == pytest.approx((1 - np.exp(-0.5)) ** 2 * support[:, :10].square().sum().item(), rel=1e-6)


def test_a_great_penalty_reconstructs_nothing():
    query, support = torch.from_numpy(tokens(0, 2, 5, 16)), torch.from_numpy(tokens(1, 3, 20, 16))
    D = head(16, 40.0, 0.0)(query, support)
    torch.testing.assert_close(D, query.square().sum(dim=(1, 2))[:, None].expand(2, 3), rtol=1e-9, atol=0)


def test_the_order_of_support_and_of_query_tokens_does_not_matter():
    ridge = head(16, 0.0, 0.1)
    query, support = torch.from_numpy(tokens(0, 2, 6, 16)), torch.from_numpy(tokens(1, 3, 20, 16))
    shuffled = ridge(
        query.flip(1), support[:, torch.randperm(20, generator=torch.Generator().manual_seed(0))]
    )
    torch.testing.assert_close(shuffled, ridge(query, support), rtol=1e-12, atol=0)


def test_gradients_are_those_of_finite_differences():
    ridge = RidgeHead(5, 0.3).double()
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(2, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    support = torch.randn(2, 7, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    valid = torch.arange(7)[None] < torch.tensor([[7], [4]])

    def distances(query, support, alpha, beta, valid):
        parameters = {"alpha": alpha, "beta": beta}
        return torch.func.functional_call(ridge, parameters, (query, support, valid))

    alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    beta = torch.tensor(-0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(distances, (query, support, alpha, beta, None))
    assert torch.autograd.gradcheck(distances, (query, support, alpha, beta, valid))


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 64, 320])
def test_the_triangle_runs_row_by_row(channels):
    rows, columns = np.triu_indices(channels)
    ours = triangle(channels)
    assert (ours[0].numpy() == rows).all()
    assert (ours[1].numpy() == columns).all()
    matrix = np.random.default_rng(0).normal(size=(2, 3, channels, channels))
    assert (pack(torch.from_numpy(matrix)).numpy() == matrix[..., rows, columns]).all()


@EXAMPLES
@given(d=st.integers(1, 30), batch=st.lists(st.integers(1, 3), max_size=2), seed=st.integers(0, 99))
def test_packing_and_unpacking_is_exact(d, batch, seed):
    matrix = torch.from_numpy(np.random.default_rng(seed).normal(size=(*batch, d, d)))
    symmetric = matrix + matrix.mT
    packed = pack(symmetric)
    assert packed.shape == (*batch, d * (d + 1) // 2)
    assert torch.equal(unpack(packed, d), symmetric)
    assert torch.equal(pack(unpack(packed, d)), packed)


@EXAMPLES
@given(d=st.integers(1, 30), seed=st.integers(0, 99))
def test_packed_inner_products_are_those_of_the_matrices(d, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, d, d))
    a, b = a + a.T, b + b.T
    weights = doubled_off_diagonals(d)
    assert set(weights.tolist()) <= {1.0, 2.0}
    packed = (pack(torch.from_numpy(a)) * pack(torch.from_numpy(b)) * weights).sum().item()
    np.testing.assert_allclose(packed, np.sum(a * b), rtol=1e-12, atol=1e-10)


def test_a_packed_query_and_operator_give_the_distance():
    ridge = head(16, 0.2, 0.1)
    query, support = torch.from_numpy(tokens(0, 4, 6, 16)), torch.from_numpy(tokens(1, 3, 20, 16))
    operator = ridge.operator(gram(support), torch.full((3,), 20.0, dtype=torch.float64))
    packed = pack(gram(query)) @ (pack(operator) * doubled_off_diagonals(16)).T
    torch.testing.assert_close(packed, ridge(query, support), rtol=1e-12, atol=0)


def test_grams_of_photos_add_up_to_that_of_the_class():
    photos = torch.from_numpy(tokens(5, 4, 25, 16))
    torch.testing.assert_close(gram(photos).sum(dim=0), gram(photos.flatten(0, 1)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gram(photos)[1].numpy(), photos[1].numpy().T @ photos[1].numpy(), atol=1e-12)
