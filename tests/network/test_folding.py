from __future__ import annotations

import numpy as np
import pytest
import torch

from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_network.folding import fold_normalizations
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(params=["conv4", "efficientnet-lite0", "resnet12"])
def network(request, seeded_checkpoint):
    return load_checkpoint(seeded_checkpoint(request.param, "ridge")).network


def test_a_folded_network_computes_the_same_with_factors_of_one(network):
    folded = fold_normalizations(network)
    side = network.config.side
    images = torch.from_numpy(draw_specimens(range(2), 1, size=side).reshape(-1, side, side, 3))
    with torch.no_grad():
        expected, tokens = network.encode(images, masked=False), folded.encode(images, masked=False)
    for level, values in expected.items():
        torch.testing.assert_close(tokens[level], values, rtol=1e-3, atol=1e-4)
    norms = [module for module in folded.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        factor = norm.weight.detach().numpy() / np.sqrt(norm.running_var.numpy() + norm.eps)
        assert (factor == 1).all()
    assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), folded.parameters(), strict=True))


def test_folding_again_changes_nothing(network):
    folded = fold_normalizations(network)
    again = fold_normalizations(folded).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in folded.state_dict().items())


def test_weights_are_rounded_to_half_on_request(network):
    rounded = fold_normalizations(network, half=True)
    for weight in rounded.parameters():
        assert weight.dim() < 2 or torch.equal(weight, weight.half().float())
    assert any(not torch.equal(weight, weight.half().float()) for weight in network.parameters())
