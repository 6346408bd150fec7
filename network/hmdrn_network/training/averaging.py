"""Average of networks that were trained from the same start.

Networks that end near each other, such as two runs of a recipe from the same pretrained weights with other
lengths or other weights of the groups, have an average that is often better than each of them: "model soups",
Wortsman et al. 2022, arXiv 2203.05482. Those from different random starts have not: measure the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from hmdrn_network.checkpoints import Checkpoint, ModelCard, canonical_weights
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.errors import CheckpointError


def average_networks(networks: Sequence[HMDRN], side: int | None = None) -> HMDRN:
    """Return the network whose weights, and statistics of batch norms, are the means of those given.

    Args:
        networks: Two or more networks of one configuration.
        side: Side of the average's input in pixels; the networks may then differ in theirs. None keeps the
            side that all of them have.

    Raises:
        CheckpointError: Fewer than two networks, or networks of different configurations.
    """
    if len(networks) < 2:
        raise CheckpointError(f"an average needs two networks or more, not {len(networks)}")
    configs = [replace(network.config, side=side or network.config.side) for network in networks]
    for config in configs[1:]:
        if config != configs[0]:
            raise CheckpointError(
                f"networks of different configurations have no average: {config} and {configs[0]}"
            )
    average = HMDRN(configs[0])
    weights = [canonical_weights(network) for network in networks]
    means = {name: torch.stack([own[name] for own in weights]).mean(dim=0) for name in weights[0]}
    average.load_state_dict(means, strict=False)  # without counters of batches
    return average.eval()


def average_cards(checkpoints: Sequence[Checkpoint]) -> ModelCard:
    """Return the first card with the recipes of all, and without figures: they are of other weights."""
    recipes = [{"sha256": each.sha256, **each.card.recipe} for each in checkpoints]
    first = checkpoints[0].card
    shared = {name: first.recipe[name] for name in ("network", "data") if name in first.recipe}
    return replace(first, metrics={}, recipe={**shared, "average_of": recipes})
