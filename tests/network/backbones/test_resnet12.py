from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hmdrn_network.backbones.dropblock import DropBlock
from hmdrn_network.backbones.resnet12 import ResidualBlock, ResNet12


@pytest.fixture(scope="module")
def network() -> ResNet12:
    torch.manual_seed(0)
    return ResNet12().requires_grad_(False).eval()


@pytest.fixture
def dropping(network: ResNet12) -> Iterator[ResNet12]:
    """DropBlock alone as in training; all else, the statistics too, as in evaluation."""
    for module in network.modules():
        if isinstance(module, DropBlock):
            module.train()
    yield network
    network.eval()


def image(count: int = 1, side: int = 84) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(2))


def block_outputs(network: ResNet12, x: Tensor) -> list[Tensor]:
    outputs: list[Tensor] = []
    hooks = [b.register_forward_hook(lambda _, __, y: outputs.append(y)) for b in network.blocks]
    network(x)
    for hook in hooks:
        hook.remove()
    return outputs


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    reach = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, weight)


def normalize(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    mean, var, gain, shift = (
        weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * gain + shift


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)


@pytest.mark.parametrize("side", [6, 7])
def test_a_residual_block_is_that_of_the_equations(side):
    torch.manual_seed(4)
    block = ResidualBlock(3, 5, 0.0).double().requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(1)
    for name, value in block.state_dict().items():
        if "norm" in name and value.is_floating_point():
            value.add_(0.5 * torch.rand(value.shape, generator=generator))
    weights = {name: value.numpy() for name, value in block.state_dict().items()}
    x = image(1, side).double()
    y = x[0].numpy()
    for i in (1, 2):
        y = leaky(normalize(convolve(y, weights[f"conv{i}.weight"]), weights, f"norm{i}"))
    y = normalize(convolve(y, weights["conv3.weight"]), weights, "norm3")
    shortcut = convolve(x[0].numpy(), weights["shortcut_conv.weight"])
    y = leaky(y + normalize(shortcut, weights, "shortcut_norm"))
    pooled = y[:, :6, :6].reshape(5, 3, 2, 3, 2).max(axis=(2, 4))
    np.testing.assert_allclose(block(x)[0].numpy(), pooled, rtol=1e-11, atol=1e-12)


def test_maps_have_320_channels_of_10_by_10_and_640_of_5_by_5(network):
    maps = network(image())
    assert {name: tuple(m.shape) for name, m in maps.items()} == {
        "mid": (1, 320, 10, 10),
        "high": (1, 640, 5, 5),
    }


def test_blocks_widen_to_64_160_320_and_640_channels(network):
    outputs = block_outputs(network, image(1, 32))
    assert [y.shape[1] for y in outputs] == [64, 160, 320, 640]
    assert [y.shape[2] for y in outputs] == [16, 8, 4, 2]


def test_the_levels_are_the_outputs_of_the_last_two_blocks(network):
    x = image(1, 32)
    outputs, maps = block_outputs(network, x), network(x)
    assert torch.equal(maps["mid"], outputs[2])
    assert torch.equal(maps["high"], outputs[3])


def test_no_convolution_has_a_bias(network):
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 16
    assert all(c.bias is None for c in convolutions)


def test_in_evaluation_maps_do_not_depend_on_the_global_generator(network):
    x = image(1, 32)
    first = network(x)
    torch.manual_seed(99)
    for level, again in network(x).items():
        assert torch.equal(first[level], again)


def test_an_image_does_not_depend_on_the_others_of_its_batch(network):
    x = image(3, 32)
    together = network(x)
    for level, alone in network(x[1:2]).items():
        torch.testing.assert_close(together[level][1:2], alone, rtol=1e-4, atol=1e-5)


def test_dropblock_acts_in_the_last_two_blocks_alone(network, dropping):
    x = image(1, 80)  # 10 x 10 and 5 x 5 maps
    dropping.eval()
    plain = block_outputs(dropping, x)
    for module in dropping.modules():
        if isinstance(module, DropBlock):
            module.train()
    torch.manual_seed(0)
    active = block_outputs(dropping, x)
    assert torch.equal(active[0], plain[0])
    assert torch.equal(active[1], plain[1])
    for i in (2, 3):
        # Some units are gone and none was zero before; the rate is near 0.1.
        assert not (plain[i] == 0).any()
        assert 0.05 < float((active[i] == 0).float().mean()) < 0.15
    # The third block sees what it would without, so what it keeps is that, scaled.
    kept = active[2] != 0
    factor = kept.numel() / kept.sum()
    torch.testing.assert_close(active[2][kept], plain[2][kept] * factor, rtol=1e-5, atol=1e-6)


def test_dropblock_has_blocks_of_five(dropping):
    torch.manual_seed(0)
    zeros = (block_outputs(dropping, image(1, 80))[2][0] == 0).numpy()
    spans = [np.ptp(np.nonzero(z.any(axis=0))[0]) + 1 for z in zeros if z.any()]
    assert min(spans) == 5


def test_the_drop_rate_can_be_set_to_none_at_all():
    torch.manual_seed(0)
    network = ResNet12(drop_rate=0.0).requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    x = image(1, 32)
    trained = network.train(False)(x)
    for module in network.modules():
        if isinstance(module, DropBlock):
            module.train()
    assert torch.equal(network(x)["high"], trained["high"])
