from __future__ import annotations

import pytest
import torch
from tiny_runs import CARD

from hmdrn_network.checkpoints import canonical_weights, load_checkpoint, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.averaging import average_cards, average_networks
from hmdrn_runtime.errors import CheckpointError


def make_network(seed: int, config: NetworkConfig = NetworkConfig()) -> HMDRN:  # noqa: B008 (frozen)
    torch.manual_seed(seed)
    return HMDRN(config).eval()


def test_each_weight_and_statistic_is_the_mean():
    networks = [make_network(seed) for seed in range(3)]
    networks[0].backbone.blocks[0].norm.running_mean.fill_(3.0)
    average = canonical_weights(average_networks(networks))
    sources = [canonical_weights(network) for network in networks]
    for name, value in average.items():
        torch.testing.assert_close(value, sum(source[name] for source in sources) / 3)
    torch.testing.assert_close(average["backbone.blocks.0.norm.running_mean"], torch.ones(64))


def test_networks_of_different_sides_have_an_average_at_a_given_side():
    networks = [make_network(0, NetworkConfig(side=84)), make_network(1, NetworkConfig(side=112))]
    average = average_networks(networks, side=112)
    assert average.config.side == 112
    weight = next(iter(canonical_weights(average)))
    sources = [canonical_weights(network)[weight] for network in networks]
    torch.testing.assert_close(canonical_weights(average)[weight], sum(sources) / 2)
    with pytest.raises(CheckpointError, match="different configurations"):
        average_networks(networks)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([make_network(0)], "two networks or more, not 1"),
        ([make_network(0), make_network(0, NetworkConfig(head="attention"))], "different configurations"),
    ],
)
def test_networks_without_an_average_are_refused(networks, message):
    with pytest.raises(CheckpointError, match=message):
        average_networks(networks)


def test_the_card_names_what_was_averaged_and_drops_its_figures(tmp_path):
    checkpoints = []
    for seed in range(2):
        save_checkpoint(tmp_path / f"{seed}.safetensors", make_network(seed), CARD)
        checkpoints.append(load_checkpoint(tmp_path / f"{seed}.safetensors"))
    card = average_cards(checkpoints)
    assert card.metrics == {}
    assert [run["sha256"] for run in card.recipe["average_of"]] == [c.sha256 for c in checkpoints]
