from __future__ import annotations

import torch
from tiny_runs import CARD

from hmdrn_network.checkpoints import load_checkpoint, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN


def test_checkpoints_are_averaged_into_a_file(hmdrn, tmp_path):
    for seed in range(2):
        torch.manual_seed(seed)
        save_checkpoint(tmp_path / f"{seed}.safetensors", HMDRN(NetworkConfig()), CARD)
    output = tmp_path / "average.safetensors"
    outcome = hmdrn("average", *(tmp_path / f"{seed}.safetensors" for seed in range(2)), "-o", output)
    assert outcome.code == 0, outcome.err
    assert len(load_checkpoint(output).card.recipe["average_of"]) == 2


def test_a_single_checkpoint_has_no_average(hmdrn, tmp_path):
    save_checkpoint(tmp_path / "one.safetensors", HMDRN(NetworkConfig()), CARD)
    outcome = hmdrn("average", tmp_path / "one.safetensors", "-o", tmp_path / "average.safetensors")
    assert outcome.code == 2
    assert "two networks or more" in outcome.err
