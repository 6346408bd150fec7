"""Every rival computes what the network computes, or is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rivals import catalog, onnx_models, torch_models
from benchmarks.rivals.episode import (
    TOLERANCE,
    Episode,
    check_logits,
    compute_logits,
    make_call,
    make_episode,
)
from hmdrn_runtime.errors import HmdrnError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def episode() -> Episode:
    return make_episode()


@pytest.fixture(scope="module")
def small_episode() -> Episode:
    """The same of Conv-4: the whole episode as one graph of the default model takes a minute to trace."""
    return make_episode(ROOT / "weights" / "conv4.safetensors")


def test_all_networks_share_the_backbone_of_the_default_model(episode):
    def weights(network):
        state = network.state_dict()
        return {k: v for k, v in state.items() if k.startswith("backbone") and v.is_floating_point()}

    ridge = weights(episode.ridge)
    for other in (episode.attention, episode.protonet):
        assert all((ridge[name] == value).all() for name, value in weights(other).items())
    sides = {network.config.side for network in (episode.ridge, episode.attention, episode.protonet)}
    assert episode.support.shape == (5, 5, *sides, *sides, 3)
    photos = [*episode.query, *episode.support.reshape(-1, *episode.query.shape[1:])]
    assert len({photo.tobytes() for photo in photos}) == 33


@pytest.mark.parametrize("make", [catalog.make_runtime_classifier, catalog.make_graph_classifier])
def test_the_runtime_gives_the_logits_of_the_network(episode, make):
    assert check_logits("ours", make(episode, 1), episode, compute_logits(episode.ridge, episode)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "make"),
    [
        ("ridge", torch_models.make_whole_episode),
        ("attention", torch_models.make_whole_episode),
        ("ridge", torch_models.make_cached_features),
        ("attention", torch_models.make_cached_features),
        ("protonet", torch_models.make_cached_features),
        ("ridge", torch_models.make_direct_ridge),
    ],
)
def test_torch_rivals_give_the_logits_of_their_network(small_episode, network, make):
    chosen = getattr(small_episode, network)
    classify = make(chosen, small_episode, 1)
    assert check_logits("rival", classify, small_episode, compute_logits(chosen, small_episode)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "model"),
    [
        ("ridge", onnx_models.export_episode),
        ("ridge", onnx_models.export_direct_ridge),
        ("protonet", None),
    ],
)
def test_onnx_rivals_give_the_logits_of_their_network(small_episode, network, model):
    episode = small_episode
    chosen = getattr(episode, network)
    graph = (model or partial(onnx_models.export_cached_features, chosen))(episode)
    run = onnx_models.open_onnxruntime(graph, 1)
    classify = (
        onnx_models.classify_episodes(run, episode)
        if model is onnx_models.export_episode
        else onnx_models.classify_queries(run)
    )
    assert check_logits("rival", classify, episode, compute_logits(chosen, episode)) < 1e-3


def test_a_rival_with_other_logits_is_refused(episode):
    expected = compute_logits(episode.ridge, episode)
    answers = make_call(lambda photo: photo, episode)
    order = {answers().tobytes(): row for row in range(len(expected))}

    def off_by(noise: np.ndarray):
        return lambda photo: (expected + noise)[order[photo.tobytes()]]

    assert check_logits("same", off_by(np.zeros_like(expected)), episode, expected) == 0
    small = np.zeros_like(expected)
    small[3, 2] = 0.5 * TOLERANCE * expected.std()
    assert check_logits("rounded", off_by(small), episode, expected) == pytest.approx(TOLERANCE / 2, rel=1e-3)
    for wrong in (4 * small, np.full_like(small, np.nan)):
        with pytest.raises(HmdrnError, match="'other' computes something else"):
            check_logits("other", off_by(wrong), episode, expected)


def test_every_kind_of_rival_is_listed(episode):
    names = [name for name, _ in catalog.list_rivals(episode)]
    assert names[0] == catalog.RUNTIME
    assert len(set(names)) == len(names)
    for words in (
        "authors' procedure",
        "torch.compile",
        "direct ridge",
        "attention head",
        "OpenVINO",
        "ProtoNet",
    ):
        assert any(words in name for name in names)
