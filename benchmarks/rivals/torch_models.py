"""Rivals that run in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.rivals.episode import Classify, Episode, Pixels
from hmdrn_network.heads.ridge import RidgeHead, gram
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.errors import HmdrnError


def _classify_with_threads(threads: int, forward: torch.nn.Module) -> Classify:
    def classify(photo: Pixels) -> np.ndarray:
        # Only when it changes: on the first call of a turn, which is not counted.
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            return np.asarray(forward(torch.from_numpy(photo)[None])[0].numpy())

    return classify


class WholeEpisode(torch.nn.Module):
    """The authors' procedure: support and query photos pass through the network on every call."""

    def __init__(self, network: HMDRN, support: Pixels) -> None:
        super().__init__()
        self.network = network
        self.support = torch.from_numpy(support)

    def forward(self, query: Tensor) -> Tensor:
        """Map a query uint8 (1, S, S, 3) to logits (1, 5)."""
        logits: Tensor = self.network(self.support, query)
        return logits


class CachedFeatures(torch.nn.Module):
    """The support photos' tokens are cached; every call reconstructs from them."""

    def __init__(self, network: HMDRN, support: Pixels) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            maps = network.features(torch.from_numpy(support).flatten(0, 1))
            self.classes = network.class_tokens(maps, len(support))

    def forward(self, query: Tensor) -> Tensor:
        """As `WholeEpisode.forward`."""
        return self.network.compare(self.network.features(query), self.classes)


class DirectRidge(torch.nn.Module):
    """The classes' H are cached; Qhat = rho Q H is formed for each class and compared token by token."""

    def __init__(self, network: HMDRN, support: Pixels) -> None:
        super().__init__()
        self.network = network
        self.hat = torch.nn.ParameterDict()
        tokens = CachedFeatures(network, support).classes
        with torch.no_grad():
            for name, S in tokens.items():
                head = network.heads[name]
                if not isinstance(head, RidgeHead):
                    raise HmdrnError("direct reconstruction needs ridge heads")
                G = gram(S.double())
                lam = head.regularization(S.new_full((len(S),), S.shape[1])).double()[:, None, None]
                H = torch.linalg.solve(G + lam * torch.eye(S.shape[-1], dtype=G.dtype), G)
                scaled = (head.beta.double().exp() * H).float()
                self.hat[name] = torch.nn.Parameter(scaled, requires_grad=False)

    def forward(self, query: Tensor) -> Tensor:
        """As `WholeEpisode.forward`."""
        distances = {}
        for name, Q in self.network.encode(query, masked=True).items():
            distances[name] = (Q[:, None] - Q[:, None] @ self.hat[name][None]).square().sum(dim=(-2, -1))
        logits: Tensor = self.network.fusion(distances)
        return logits


def make_whole_episode(network: HMDRN, episode: Episode, threads: int) -> Classify:
    """Return the authors' procedure in torch eager."""
    return _classify_with_threads(threads, WholeEpisode(network, episode.support))


def make_cached_features(network: HMDRN, episode: Episode, threads: int) -> Classify:
    """Return torch eager with cached support features."""
    return _classify_with_threads(threads, CachedFeatures(network, episode.support))


def make_compiled_features(network: HMDRN, episode: Episode, threads: int) -> Classify:
    """Return the same with torch.compile, compiled for this number of threads."""
    torch.set_num_threads(threads)
    compiled: Any = torch.compile(CachedFeatures(network, episode.support), dynamic=False)
    classify = _classify_with_threads(threads, compiled)
    classify(episode.query[0])
    return classify


def make_direct_ridge(network: HMDRN, episode: Episode, threads: int) -> Classify:
    """Return direct ridge reconstruction with cached H, in torch eager."""
    return _classify_with_threads(threads, DirectRidge(network, episode.support))
