"""Input of every rival: a network, five species of five photos, and the photos to classify."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.ablation.variants import ProtoNet
from hmdrn.loading import resolve_checkpoint
from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.timing import Call
from hmdrn_runtime.specimens.drawing import draw_specimens

WAY, SHOT, QUERIES = 5, 5, 8
TOLERANCE = 0.02
"""Largest difference of logits, as a share of their spread: executors round differently, and a token on
the mask's threshold may fall on either side."""

Pixels: TypeAlias = npt.NDArray[np.uint8]
Classify: TypeAlias = Callable[[Pixels], npt.NDArray[np.float32]]
"""From a prepared photo, RGB uint8 (side, side, 3), to logits (5,)."""


@dataclass(frozen=True)
class Episode:
    """Photos and networks of the comparison.

    Attributes:
        support: Photos to enroll, uint8 (5, 5, side, side, 3).
        query: Photos to classify, uint8 (8, side, side, 3).
        ridge: The network with ridge heads, by default the default model's.
        attention: The same backbone and transformers with attention heads of random weights, which do not
            affect the time.
        protonet: ProtoNet on the same backbone.
    """

    support: Pixels
    query: Pixels
    ridge: HMDRN
    attention: HMDRN
    protonet: HMDRN


def make_episode(checkpoint: str | os.PathLike[str] = "default") -> Episode:
    """Return an episode of a ridge checkpoint, by default the default model's, and drawn specimens."""
    ridge = load_checkpoint(resolve_checkpoint(checkpoint)).network.eval()
    side = ridge.config.side
    drawn = draw_specimens(range(WAY), SHOT + QUERIES // 4, size=side)
    torch.manual_seed(0)
    attention = HMDRN(NetworkConfig(ridge.config.backbone, "attention", side=side))
    protonet = ProtoNet(NetworkConfig(ridge.config.backbone, levels=("high",), side=side))
    for other in (attention, protonet):
        shared = {k: v for k, v in ridge.state_dict().items() if k in other.state_dict() and "heads" not in k}
        other.load_state_dict({**other.state_dict(), **shared})
        other.eval()
    for network in (ridge, attention, protonet):
        network.requires_grad_(False)
    query = drawn[:, SHOT:].reshape(-1, side, side, 3)[:QUERIES]
    return Episode(drawn[:, :SHOT], query, ridge, attention, protonet)


def compute_logits(network: HMDRN, episode: Episode) -> npt.NDArray[np.float32]:
    """Return the network's logits (8, 5) for all queries, computed in torch: the reference for its rivals."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(episode.support), torch.from_numpy(episode.query))
    return np.asarray(logits.numpy(), dtype=np.float32)


def check_logits(name: str, classify: Classify, episode: Episode, expected: npt.NDArray[np.float32]) -> float:
    """Compare a rival's logits with the network's.

    Returns:
        The largest difference, as a share of the spread of the logits.

    Raises:
        HmdrnError: They differ by more than `TOLERANCE` or name another species: its time means nothing.
    """
    logits = np.stack([classify(photo) for photo in episode.query])
    difference = float(np.abs(logits - expected).max() / expected.std())
    if not difference <= TOLERANCE or (logits.argmax(axis=1) != expected.argmax(axis=1)).any():
        raise HmdrnError(
            f"{name!r} computes something else: its logits differ by {difference:.2%} of their spread, "
            f"over {TOLERANCE:.0%}, or name another species"
        )
    return difference


def make_call(classify: Classify, episode: Episode) -> Call:
    """Return a call without arguments that classifies the next query each time."""
    photos = cycle(list(episode.query))
    return lambda: classify(next(photos))
