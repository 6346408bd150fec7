from __future__ import annotations

import pytest
import torch

from hmdrn_network.backbones.registry import BACKBONES


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_the_maps_that_its_spec_declares(name):
    spec = BACKBONES[name]
    side = spec.default_side
    network = spec.build(side).requires_grad_(False).eval()
    maps = network(torch.zeros(1, 3, side, side))
    assert {level: m.shape[1] for level, m in maps.items()} == dict(spec.channels)
    assert {level: m.shape[2:] for level, m in maps.items()} == {
        level: (spec.map_side(level, side),) * 2 for level in spec.channels
    }


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_can_start_at_any_stage_up_to_the_mid_level(name):
    spec = BACKBONES[name]
    network = spec.build(spec.default_side).requires_grad_(False).eval()
    x = torch.randn(1, 3, spec.default_side, spec.default_side)
    whole = network(x)
    for start in (1, network.level_stages["mid"] + 1):
        maps = network(network.run_prefix(x, start), start)
        assert all(torch.equal(maps[level], whole[level]) for level in whole)


@pytest.mark.parametrize("name", BACKBONES)
def test_sides_that_do_not_fit_are_explained(name):
    spec = BACKBONES[name]
    assert spec.side_problem(spec.default_side) is None
    assert spec.side_problem(160) is None
    for side in (-16, 0, 16, 100, 528):
        assert f"side {side} does not fit {name}" in str(spec.side_problem(side))
