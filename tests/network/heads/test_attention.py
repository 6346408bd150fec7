from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_network.heads.attention import AttentionHead

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)


def head(channels: int, dtype: torch.dtype = torch.float64, gain: float = 1.0) -> AttentionHead:
    attention = AttentionHead(channels).to(dtype).requires_grad_(False)
    weight = (
        np.random.default_rng(channels).normal(size=(3 * channels, channels)) * gain / math.sqrt(channels)
    )
    attention.qkv.weight.copy_(torch.from_numpy(weight))
    return attention


def tokens(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def distance(weight: np.ndarray, query: np.ndarray, support: np.ndarray) -> float:
    """D of one query photo (T, d) and one class (n, d), straight from the equations."""
    d = query.shape[1]
    Wq, Wk, Wv = weight[:d], weight[d : 2 * d], weight[2 * d :]
    total = 0.0
    for token in query:
        scores = [(Wq @ token) @ (Wk @ other) / math.sqrt(d) for other in support]
        shares = np.exp(np.array(scores) - max(scores))
        shares /= shares.sum()
        mixture = sum(share * (Wv @ other) for share, other in zip(shares, support, strict=True))
        total += float(np.square(Wv @ token - mixture).sum())
    return total


@pytest.mark.parametrize(("channels", "locations", "shots"), [(8, 4, 1), (64, 9, 3), (320, 4, 2)])
def test_distances_are_those_of_the_equations(channels, locations, shots):
    attention = head(channels)
    query, support = tokens(1, 3, locations, channels), tokens(2, 2, shots * locations, channels)
    weight = attention.qkv.weight.numpy()
    expected = [[distance(weight, q, s) for s in support.numpy()] for q in query.numpy()]
    np.testing.assert_allclose(attention(query, support).numpy(), expected, rtol=1e-12)
    single = head(channels, torch.float32)(query.float(), support.float())
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-4)


def test_q_k_and_v_are_thirds_of_one_projection_without_a_bias():
    attention = head(6)
    assert [name for name, _ in attention.named_parameters()] == ["qkv.weight"]
    x = tokens(0, 2, 5, 6)
    thirds = x.numpy() @ attention.qkv.weight.numpy().T
    for ours, start in zip(attention.project(x), (0, 6, 12), strict=True):
        np.testing.assert_allclose(ours.numpy(), thirds[..., start : start + 6], atol=1e-14)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize(("channels", "locations"), [(64, 25), (64, 100), (320, 100), (640, 25)])
def test_padding_equals_unpadded(channels, locations, dtype, rtol):
    attention = head(channels, dtype)
    query = tokens(0, 3, locations, channels).to(dtype)
    support = tokens(1, 2, 2 * locations, channels).to(dtype)
    plain = attention(query, support)
    for extra in (1, 333):
        valid = torch.ones(2, 2 * locations + extra, dtype=torch.bool)
        valid[:, 2 * locations :] = False
        results = [
            attention(query, torch.cat([support, torch.full((2, extra, channels), x, dtype=dtype)], 1), valid)
            for x in (1e4, -3.0)
        ]
        # The content of the padding changes no bit, its presence only the rounding.
        assert torch.equal(*results)
        torch.testing.assert_close(results[0], plain, rtol=rtol, atol=0)


def test_classes_of_different_shots_share_a_batch_with_padding_anywhere():
    attention = head(16)
    query, support = tokens(0, 3, 5, 16), tokens(1, 3, 20, 16)
    valid = tokens(2, 3, 20) > torch.tensor([[-0.5], [0.0], [1.0]])
    alone = torch.cat([attention(query, s[v][None]) for s, v in zip(support, valid, strict=True)], dim=1)
    torch.testing.assert_close(attention(query, support, valid), alone, rtol=1e-13, atol=0)


@EXAMPLES
@given(d=st.integers(1, 8), n=st.integers(1, 12), gain=st.floats(0, 30), seed=st.integers(0, 999))
def test_a_distance_is_at_least_that_of_the_nearest_mixture(d, n, gain, seed):
    # The mixture lies inside the support's values: no coordinate of it can leave their range.
    attention = head(d, gain=gain)
    query, support = tokens(seed, 2, 3, d), tokens(seed + 1, 2, n, d)
    D = attention(query, support)
    v, support_v = attention.project(query)[2], attention.project(support)[2]
    low, high = support_v.min(dim=1).values[None, :, None], support_v.max(dim=1).values[None, :, None]
    nearest = v[:, None].clamp(low, high)
    assert ((v[:, None] - nearest).square().sum(dim=(2, 3)) * (1 - 1e-9) <= D).all()
    assert (D >= 0).all()


def test_a_single_support_token_is_the_reconstruction_itself():
    attention = head(8)
    query, support = tokens(0, 2, 5, 8), tokens(1, 3, 1, 8)
    v, support_v = attention.project(query)[2], attention.project(support)[2]
    expected = [[float((q - s).square().sum()) for s in support_v] for q in v]
    np.testing.assert_allclose(attention(query, support).numpy(), expected, rtol=1e-12)


def test_neither_the_order_of_support_tokens_nor_their_repetition_matters():
    attention = head(16)
    query, support = tokens(0, 2, 6, 16), tokens(1, 3, 20, 16)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    plain = attention(query, support)
    torch.testing.assert_close(attention(query, support[:, order]), plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(attention(query, support.repeat(1, 3, 1)), plain, rtol=1e-12, atol=0)


def test_great_scores_do_not_overflow():
    attention = head(16, torch.float32)
    D = attention(1e4 * tokens(0, 2, 6, 16).float(), 1e4 * tokens(1, 3, 20, 16).float())
    assert D.isfinite().all()


def test_gradients_are_those_of_finite_differences():
    attention = head(4)
    query, support = tokens(0, 2, 3, 4).requires_grad_(), tokens(1, 2, 5, 4).requires_grad_()
    weight = attention.qkv.weight.clone().requires_grad_()
    valid = torch.arange(5)[None] < torch.tensor([[5], [2]])

    def distances(query, support, weight):
        return torch.func.functional_call(attention, {"qkv.weight": weight}, (query, support, valid))

    assert torch.autograd.gradcheck(distances, (query, support, weight))
