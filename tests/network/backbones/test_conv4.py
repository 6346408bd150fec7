from __future__ import annotations

import numpy as np
import pytest
import torch

from hmdrn_network.backbones.conv4 import Conv4


def conv4(dtype: torch.dtype = torch.float32) -> Conv4:
    """Weights and statistics off their start."""
    torch.manual_seed(0)
    network = Conv4().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if "norm" in name and value.is_floating_point():
            value.add_(0.3 * torch.rand(value.shape, generator=generator))
    return network.to(dtype).eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 84, 84, generator=torch.Generator().manual_seed(2))


def block(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    """conv3x3 - BatchNorm - ReLU - maxpool 2 of one image (C, H, W)."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    y = np.einsum("chwij,ocij->ohw", windows, weights[f"{name}.conv.weight"], optimize=True)
    y += weights[f"{name}.conv.bias"][:, None, None]
    mean, var, gain, shift = (
        weights[f"{name}.norm.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    y = np.maximum((y - mean) / np.sqrt(var + 1e-5) * gain + shift, 0)
    side = y.shape[1] // 2
    return y[:, : 2 * side, : 2 * side].reshape(-1, side, 2, side, 2).max(axis=(2, 4))


def test_maps_are_those_of_four_blocks_in_numpy():
    network = conv4(torch.float64)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    x = images(1).double()
    maps = network(x)
    expected = x[0].numpy()
    for i in range(4):
        expected = block(expected, weights, f"blocks.{i}")
        if i == 2:
            np.testing.assert_allclose(maps["mid"][0].numpy(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(maps["high"][0].numpy(), expected, rtol=1e-10, atol=1e-12)
    single = conv4()(x.float())
    np.testing.assert_allclose(single["high"][0].numpy(), expected, rtol=0, atol=1e-4 * expected.max())


@pytest.mark.parametrize("count", [1, 3])
def test_maps_have_64_channels_of_10_by_10_and_5_by_5(count):
    maps = conv4()(images(count))
    assert {name: tuple(m.shape) for name, m in maps.items()} == {
        "mid": (count, 64, 10, 10),
        "high": (count, 64, 5, 5),
    }


def test_in_evaluation_an_image_gives_the_same_maps_again_and_in_any_batch():
    network = conv4()
    x = images(4)
    together = network(x)
    for level, again in network(x).items():
        assert torch.equal(together[level], again)
    for level, alone in network(x[2:3]).items():
        torch.testing.assert_close(together[level][2:3], alone, rtol=1e-5, atol=1e-5)


def test_in_training_the_batch_normalizes_itself():
    network = conv4().train()
    x = images(4)
    before = network.blocks[0].norm.running_mean.clone()
    apart, together = network(x[:2])["high"], network(x)["high"][:2]
    assert (apart - together).abs().max() > 1e-3
    assert not torch.equal(network.blocks[0].norm.running_mean, before)
