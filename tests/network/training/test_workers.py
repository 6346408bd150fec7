"""Two real processes with gloo, as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HELPERS = Path(__file__).parents[2] / "helpers"

RUN = """
import sys
from pathlib import Path
import torch
from tiny_runs import BIRDS, CARD, changed
from hmdrn_network.config import NetworkConfig
from hmdrn_network.training.run import train

torch.set_num_threads(1)
folder = Path(sys.argv[1])
rank = sys.argv[2]
config = changed(pretrain_steps=1, episodes=2)
network = train(NetworkConfig(), [BIRDS], config, folder, CARD)
torch.save({n: p.detach() for n, p in network.named_parameters()}, folder / f"weights-{rank}.pt")
"""


def start(folder: Path, rank: int, count: int, port: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": str(HELPERS),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", RUN, str(folder), str(rank)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.slow
def test_two_processes_train_one_network_on_their_own_episodes(tmp_path):
    port = free_port()
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    processes = [start(tmp_path / "two", rank, 2, port) for rank in (0, 1)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    alone = start(tmp_path / "one", 0, 1, port)
    assert alone.wait(120) == 0
    first, second = (torch.load(tmp_path / "two" / f"weights-{rank}.pt") for rank in (0, 1))
    single = torch.load(tmp_path / "one" / "weights-0.pt")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], single[name]) for name in first)
