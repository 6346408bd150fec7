from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_network.backbones.dropblock import DropBlock


def dropped(shape: tuple[int, ...], rate: float, size: int = 5, seed: int = 0) -> np.ndarray:
    """Where a map of ones comes out as zero."""
    torch.manual_seed(seed)
    return (DropBlock(rate, size).train()(torch.ones(shape)) == 0).numpy()


def covered_by_blocks(zeros: np.ndarray, size: int) -> np.ndarray:
    """Units of a map (H, W) that lie in some square of `size` that is all zeros."""
    covered = np.zeros_like(zeros)
    for top in range(zeros.shape[0] - size + 1):
        for left in range(zeros.shape[1] - size + 1):
            block = (slice(top, top + size), slice(left, left + size))
            if zeros[block].all():
                covered[block] = True
    return covered


def test_in_evaluation_it_is_the_identity():
    x = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(DropBlock(0.5).eval()(x), x)


def test_at_rate_zero_it_is_the_identity_and_draws_nothing():
    x = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    assert torch.equal(DropBlock(0.0).train()(x), x)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_on_a_map_of_one_block_the_expected_share_is_dropped_whole(rate):
    # 5 x 5: gamma is the rate itself, and a map goes as a whole or stays.
    zeros = dropped((100, 100, 5, 5), rate).reshape(10000, 25)
    assert (zeros.all(axis=1) == zeros.any(axis=1)).all()
    # 4 standard deviations of 10,000 coins.
    assert zeros.mean() == pytest.approx(rate, abs=4 * (rate * (1 - rate) / 10000) ** 0.5)


@pytest.mark.parametrize(("side", "size"), [(10, 5), (10, 3), (7, 5)])
def test_the_share_of_dropped_units_is_that_of_independent_block_corners(side, size):
    # Eq. 1 of the paper sets the rate of corners; blocks overlap, so a unit stays with the chance that no
    # corner that reaches it is drawn.
    rate = 0.1
    places = side - size + 1
    gamma = rate * side**2 / (size**2 * places**2)
    reach = np.array([min(i, places - 1) - max(0, i - size + 1) + 1 for i in range(side)])
    expected = 1 - (1 - gamma) ** np.outer(reach, reach)
    zeros = dropped((200, 100, side, side), rate, size)
    np.testing.assert_allclose(zeros.mean(axis=(0, 1)), expected, atol=0.012)
    assert zeros.mean() == pytest.approx(expected.mean(), abs=0.004)
    assert zeros.mean() == pytest.approx(rate, rel=0.1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    size=st.sampled_from([1, 3, 5]),
    rate=st.floats(0.05, 0.5),
    seed=st.integers(0, 999),
)
def test_whole_contiguous_blocks_are_dropped(height, width, size, rate, seed):
    size_here = min(size, height, width)
    for zeros in dropped((1, 4, height, width), rate, size, seed)[0]:
        assert (covered_by_blocks(zeros, size_here) == zeros).all()


def test_channels_and_images_are_dropped_apart():
    zeros = dropped((8, 8, 10, 10), 0.5).reshape(64, 100)
    assert len(np.unique(zeros, axis=0)) > 40


def test_units_that_stay_are_scaled_by_one_factor_to_the_same_mean():
    x = torch.rand(16, 32, 10, 10, generator=torch.Generator().manual_seed(1)) + 1
    torch.manual_seed(2)
    y = DropBlock(0.2).train()(x)
    kept = y != 0
    factors = y[kept] / x[kept]
    torch.testing.assert_close(factors, torch.full_like(factors, float(kept.numel() / kept.sum())))
    assert float(y.mean()) == pytest.approx(float(x.mean()), rel=0.01)
    ones = DropBlock(0.2).train()(torch.ones(16, 32, 10, 10))
    assert float(ones.mean()) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_mean_stays_in_every_precision(dtype):
    # The size of ResNet-12's high level in training; within one rounding of the type.
    torch.manual_seed(0)
    y = DropBlock(0.1).train()(torch.ones(16, 640, 5, 5, dtype=dtype))
    assert y.dtype == dtype
    assert float(y.float().mean()) == pytest.approx(1.0, abs=max(torch.finfo(dtype).eps, 1e-5))


def test_a_map_that_is_dropped_whole_is_zero_and_not_nan():
    torch.manual_seed(0)
    y = DropBlock(0.999).train()(torch.ones(1, 1, 5, 5))
    assert torch.equal(y, torch.zeros(1, 1, 5, 5))


def test_the_global_generator_decides_what_is_dropped():
    first, again, other = (dropped((4, 4, 10, 10), 0.3, seed=seed) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_no_gradient_reaches_what_is_dropped():
    x = torch.ones(4, 4, 10, 10, requires_grad=True)
    torch.manual_seed(3)
    y = DropBlock(0.3).train()(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())
    assert (y == 0).any()
