"""The network that a training starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.photos import PhotoGroup
from hmdrn_network.training.trainer import Trainer
from hmdrn_network.training.workers import Workers
from hmdrn_runtime.errors import TrainingError


def build_trainer(
    network: NetworkConfig,
    groups: Sequence[PhotoGroup],
    config: TrainingConfig,
    start: HMDRN | None,
    device: torch.device,
    workers: Workers,
) -> Trainer:
    """Return the trainer of a run before its first step; arguments as for `run.train`."""
    torch.manual_seed(config.seed)
    built = HMDRN(network)
    if start is not None:
        _copy_weights(start, built)
    return Trainer(built.to(device), groups, config, workers)


def _copy_weights(start: HMDRN, network: HMDRN) -> None:
    """Copy the weights of the same name and shape; the backbone must be the same."""
    if start.config.backbone != network.config.backbone:
        raise TrainingError(
            f"cannot start a {network.config.backbone} from a {start.config.backbone}: give weights of the "
            "same backbone"
        )
    own = network.state_dict()
    fitting = {n: w for n, w in start.state_dict().items() if n in own and own[n].shape == w.shape}
    network.load_state_dict({**own, **fitting})
