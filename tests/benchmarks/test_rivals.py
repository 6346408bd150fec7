"""Every rival computes what the network computes, or is refused."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks.rivals import __main__ as rivals
from benchmarks.rivals import in_graphs, in_torch
from benchmarks.rivals.episode import TOLERANCE, Episode, check, classifying, logits_of, make_episode
from hmdrn_runtime.errors import HmdrnError


@pytest.fixture(scope="module")
def episode() -> Episode:
    return make_episode()


def test_the_networks_share_the_backbone_and_nothing_random_is_in_the_default_model(episode):
    def weights(network):
        state = network.state_dict()
        return {k: v for k, v in state.items() if k.startswith("backbone") and v.is_floating_point()}

    ridge = weights(episode.ridge)
    for other in (episode.attention, episode.protonet):
        assert all((ridge[name] == value).all() for name, value in weights(other).items())
    assert episode.support.shape == (5, 5, 84, 84, 3)
    assert len({photo.tobytes() for photo in [*episode.query, *episode.support.reshape(-1, 84, 84, 3)]}) == 33


@pytest.mark.parametrize("make", [rivals.ours, rivals.graph_alone])
def test_the_runtime_gives_the_logits_of_the_network(episode, make):
    assert check("ours", make(episode, 1), episode, logits_of(episode.ridge, episode)) < 1e-3


@pytest.mark.parametrize(
    ("network", "make"),
    [
        ("ridge", in_torch.whole_episode),
        ("attention", in_torch.whole_episode),
        ("ridge", in_torch.cached_features),
        ("attention", in_torch.cached_features),
        ("protonet", in_torch.cached_features),
        ("ridge", in_torch.direct_ridge),
    ],
)
def test_rivals_in_torch_give_the_logits_of_their_network(episode, network, make):
    chosen = getattr(episode, network)
    assert check("rival", make(chosen, episode, 1), episode, logits_of(chosen, episode)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "model"),
    [
        ("ridge", in_graphs.episode_graph),
        ("ridge", in_graphs.direct_graph),
        ("protonet", None),
    ],
)
def test_rivals_in_one_graph_give_the_logits_of_their_network(episode, network, model):
    chosen = getattr(episode, network)
    graph = (model or partial(in_graphs.cached_graph, chosen))(episode)
    run = in_graphs.in_onnxruntime(graph, 1)
    classify = (
        in_graphs.whole(run, episode) if model is in_graphs.episode_graph else in_graphs.query_alone(run)
    )
    assert check("rival", classify, episode, logits_of(chosen, episode)) < 1e-3


def test_a_rival_that_computes_something_else_is_refused(episode):
    expected = logits_of(episode.ridge, episode)
    answers = classifying(lambda photo: photo, episode)
    order = {answers().tobytes(): row for row in range(len(expected))}

    def off_by(noise: np.ndarray):
        return lambda photo: (expected + noise)[order[photo.tobytes()]]

    assert check("same", off_by(np.zeros_like(expected)), episode, expected) == 0
    little = np.zeros_like(expected)
    little[3, 2] = 0.5 * TOLERANCE * expected.std()
    assert check("rounded", off_by(little), episode, expected) == pytest.approx(TOLERANCE / 2, rel=1e-3)
    for wrong in (4 * little, np.full_like(little, np.nan)):
        with pytest.raises(HmdrnError, match="'other' computes something else"):
            check("other", off_by(wrong), episode, expected)


def test_every_kind_of_rival_is_there(episode):
    names = [name for name, _ in rivals.rivals(episode)]
    assert names[0] == rivals.OURS
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
