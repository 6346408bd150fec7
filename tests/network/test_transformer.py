from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_network.transformer import (
    MaskedAttention,
    MaskedTransformer,
    mask_scores,
    position_table,
)

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
Weights = dict[str, np.ndarray]


def transformer(tokens: int, channels: int, dtype: torch.dtype = torch.float64) -> MaskedTransformer:
    """A transformer whose every weight is off its start, so that no two are alike by chance."""
    network = MaskedTransformer(tokens, channels, 3).requires_grad_(False)
    generator = torch.Generator().manual_seed(11)
    for name, weight in network.named_parameters():
        start = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        spread = 1 / math.sqrt(channels) if weight.dim() > 1 else 0.2
        weight.copy_(start + spread * torch.randn(weight.shape, generator=generator))
    return network.to(dtype)


def maps(seed: int, images: int, channels: int, side: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(images, channels, side, side)))


def layer_norm(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attention(x: np.ndarray, weights: Weights, name: str, masked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two heads over the tokens (T, d) of one image; with the bits of the tokens that are kept (2, T)."""
    tokens, d = x.shape
    width = d // 2
    q, k, v = np.split(x @ weights[f"{name}.qkv.weight"].T, 3, axis=1)
    mixed, bits = np.zeros((tokens, d)), np.ones((2, tokens), dtype=bool)
    for head in range(2):
        part = slice(head * width, (head + 1) * width)
        scores = [sum(entry**2 for entry in q[t, part]) for t in range(tokens)]
        threshold = sum(scores) / tokens
        for t in range(tokens):
            bits[head, t] = scores[t] > threshold
            if masked and not bits[head, t]:
                mixed[t, part] = v[:, part].mean(axis=0)  # attends to all tokens alike
                continue
            exponents = k[:, part] @ q[t, part] / math.sqrt(width)
            shares = np.exp(exponents - exponents.max())
            mixed[t, part] = shares @ v[:, part] / shares.sum()
    return mixed @ weights[f"{name}.out.weight"].T + weights[f"{name}.out.bias"], bits


def by_hand(feature_map: np.ndarray, weights: Weights, masked: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """The whole transformer on one map (d, side, side), from DESIGN.md section 2."""
    gelu = np.vectorize(lambda value: 0.5 * value * (1 + math.erf(value / math.sqrt(2))))
    d = feature_map.shape[0]
    x = feature_map.reshape(d, -1).T
    x = x + positions(*x.shape)
    all_bits = []
    for i in range(3):
        layer = f"layers.{i}"
        attended, bits = attention(
            layer_norm(x, weights, f"{layer}.pre_norm"), weights, f"{layer}.attention", masked
        )
        x = layer_norm(x + attended, weights, f"{layer}.norm")
        hidden = gelu(x @ weights[f"{layer}.mlp_in.weight"].T + weights[f"{layer}.mlp_in.bias"])
        x = x + hidden @ weights[f"{layer}.mlp_out.weight"].T + weights[f"{layer}.mlp_out.bias"]
        all_bits.append(bits)
    return layer_norm(x, weights, "norm"), all_bits


def positions(tokens: int, channels: int) -> np.ndarray:
    table = np.empty((tokens, channels))
    for p in range(tokens):
        for i in range(channels):
            angle = p / 10000 ** (2 * (i // 2) / channels)
            table[p, i] = math.sin(angle) if i % 2 == 0 else math.cos(angle)
    return table


@pytest.mark.parametrize(("tokens", "channels"), [(25, 64), (100, 64), (25, 640), (100, 320)])
def test_the_position_table_is_sine_on_even_and_cosine_on_odd_channels(tokens, channels):
    table = position_table(tokens, channels)
    assert table.dtype == torch.float32
    np.testing.assert_allclose(table.numpy(), positions(tokens, channels), rtol=0, atol=1e-5)


def test_the_position_table_is_double_precision_rounded_once():
    # Half a unit in the last place of a float32 below 1.
    np.testing.assert_allclose(position_table(100, 64).numpy(), positions(100, 64), rtol=0, atol=2**-24)


def test_the_position_table_is_not_among_the_weights():
    assert "positions" not in MaskedTransformer(25, 8, 3).state_dict()


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("side", "channels"), [(3, 8), (5, 64), (10, 64)])
def test_tokens_are_those_of_the_equations(side, channels, masked):
    network = transformer(side * side, channels)
    weights = {name: w.numpy() for name, w in network.state_dict().items()}
    inputs = maps(side, 2, channels, side)
    ours = network(inputs, masked)
    for image, tokens in zip(inputs.numpy(), ours.numpy(), strict=True):
        # Position tables are float32 in the one, float64 in the other.
        np.testing.assert_allclose(tokens, by_hand(image, weights, masked)[0], rtol=0, atol=1e-5)
    single = transformer(side * side, channels, torch.float32)(inputs.float(), masked)
    np.testing.assert_allclose(single.numpy(), ours.numpy(), rtol=0, atol=2e-5)


def test_mask_bits_of_every_layer_and_head_follow_the_rule():
    network = transformer(25, 64)
    weights = {name: w.numpy() for name, w in network.state_dict().items()}
    inputs = maps(4, 3, 64, 5)
    tokens, bits, margins = network.explain(inputs, masked=True)
    assert torch.equal(tokens, network(inputs, True))
    assert [b.shape for b in bits] == [m.shape for m in margins] == [(3, 2, 25)] * 3
    for image in range(3):
        expected = by_hand(inputs[image].numpy(), weights, True)[1]
        for layer in range(3):
            assert (bits[layer][image].numpy() == expected[layer]).all()
            assert 0 < expected[layer].sum() < 50
    for b, m in zip(bits, margins, strict=True):
        assert torch.equal(b, m > 0)


@EXAMPLES
@given(tokens=st.integers(1, 9), width=st.integers(1, 5), seed=st.integers(0, 999))
def test_a_score_is_the_squared_length_of_q_and_the_threshold_their_mean(tokens, width, seed):
    q = np.random.default_rng(seed).normal(size=(2, 2, tokens, width))
    scores, threshold = mask_scores(torch.from_numpy(q))
    np.testing.assert_allclose(scores.numpy(), np.linalg.norm(q, axis=-1) ** 2, rtol=1e-12)
    assert threshold.shape == (2, 2, 1)
    np.testing.assert_allclose(threshold[..., 0].numpy(), scores.numpy().mean(axis=-1), rtol=1e-12)


def copying_attention(channels: int) -> MaskedAttention:
    """q, k and v are the token itself, and so is what is put out."""
    network = MaskedAttention(channels).double().requires_grad_(False)
    identity = torch.eye(channels, dtype=torch.float64)
    network.qkv.weight.copy_(identity.repeat(3, 1))
    network.out.weight.copy_(identity)
    network.out.bias.zero_()
    return network


def test_a_score_that_equals_the_threshold_is_masked():
    # Entries of +-1 alone: every score is exactly 2, and so is their mean.
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (3, 8, 4), generator=generator).double() * 2 - 1
    mixed, keep, margin = copying_attention(4)(x, True)
    assert not keep.any()
    assert not margin.any()
    torch.testing.assert_close(mixed, x.mean(dim=1, keepdim=True).expand_as(x))


def test_a_masked_token_attends_to_all_tokens_alike_and_others_as_before():
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(2, 9, 6)))
    network = copying_attention(6)
    masked, keep, _ = network(x, True)
    plain, none, no_margin = network(x, False)
    assert none is None
    assert no_margin is None
    mean = x.mean(dim=1, keepdim=True).expand_as(x)
    kept = keep.transpose(1, 2).repeat_interleave(3, dim=2)  # of the head that a channel belongs to
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(masked, torch.where(kept, plain, mean), rtol=1e-12, atol=1e-12)
    assert (plain[~kept] - mean[~kept]).abs().max() > 0.01


def test_a_masked_token_is_still_attended_to():
    # Zeroing q leaves k and v: moving a masked token moves what the kept ones put out.
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 9, 6)))
    network = copying_attention(6)
    mixed, keep, _ = network(x, True)
    weak = int((~keep[0]).all(dim=0).nonzero()[0])
    strong = int(keep[0, 0].nonzero()[0])
    moved = x.clone()
    moved[0, weak] *= -1  # no score changes
    again, same, _ = network(moved, True)
    assert torch.equal(keep, same)
    assert (again[0, strong, :3] - mixed[0, strong, :3]).abs().max() > 1e-3


def test_support_images_are_never_masked():
    network = transformer(25, 64)
    inputs = maps(1, 2, 64, 5)
    tokens, bits, margins = network.explain(inputs, masked=False)
    assert bits == []
    assert margins == []
    assert (tokens - network(inputs, True)).abs().max() > 0.01


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 5e-5)])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("side", "channels"), [(5, 64), (10, 64), (5, 640)])
def test_an_image_does_not_depend_on_the_others_of_its_batch(side, channels, masked, dtype, tolerance):
    network = transformer(side * side, channels, dtype)
    inputs = maps(2, 5, channels, side).to(dtype)
    inputs[0] *= 50
    together = network(inputs, masked)
    for i in range(5):
        alone = network(inputs[i : i + 1], masked)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=tolerance)
    reversed_ = network(inputs.flip(0), masked).flip(0)
    torch.testing.assert_close(reversed_, together, rtol=0, atol=tolerance)


def test_tokens_are_in_the_order_of_the_maps_rows():
    # The token of a location follows that location's features more than any other's.
    network = transformer(25, 64)
    inputs = maps(6, 1, 64, 5)
    base = network(inputs, False)[0]
    for row, column in ((0, 0), (1, 3), (4, 2)):
        changed = inputs.clone()
        changed[0, :, row, column] += 3 * torch.from_numpy(np.random.default_rng(9).normal(size=64))
        moved = (network(changed, False)[0] - base).norm(dim=1)
        assert int(moved.argmax()) == row * 5 + column


def test_no_gradient_passes_through_the_q_of_a_masked_token():
    network = MaskedAttention(6).double()
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 9, 6)))
    captured = []
    network.qkv.register_forward_hook(lambda _, __, output: captured.append(output) or output.retain_grad())
    mixed, keep, _ = network(x.requires_grad_(), True)
    mixed.square().sum().backward()
    q_gradient = captured[0].grad[0, :, :6].unflatten(1, (2, 3))  # (tokens, heads, width)
    reached = q_gradient.abs().sum(dim=2).T > 0
    assert torch.equal(reached, keep[0])
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("masked", [True, False])
def test_gradients_are_those_of_finite_differences(masked):
    # Away from the step of the mask, which has no gradient.
    network = transformer(4, 4)
    inputs = maps(5, 1, 4, 2)
    if masked:
        margins = network.explain(inputs, True)[2]
        assert min(m.abs().min() for m in margins) > 1e-3
    assert torch.autograd.gradcheck(lambda x: network(x, masked), (inputs.requires_grad_(),), eps=1e-7)
