"""On photographs, a bundle is as accurate as its network in torch, episode by episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from preprocessings import SQUASH

from hmdrn.loading import load, resolve_checkpoint
from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_network.scoring import NetworkScorer
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.evaluation.episodes import sample_episodes
from hmdrn_runtime.evaluation.evaluation import BundleScorer, EpisodeSetting, evaluate
from hmdrn_runtime.images.preprocessing import Preprocessing


def torch_accuracy(network, dataset, mode, setting) -> float:
    """Percent of queries named rightly by the network itself, over the episodes that `evaluate` draws."""
    pixels = [np.stack([photo.prepare(mode) for photo in photos]) for photos in dataset.classes.values()]
    first = np.cumsum([0, *(len(p) for p in pixels[:-1])])
    with torch.inference_mode():
        images = torch.split(torch.from_numpy(np.concatenate(pixels)), 32)
        maps = [network.features(part) for part in images]
        support = {n: torch.cat([network.transform(m, masked=False)[n] for m in maps]) for n in maps[0]}
        query = {n: torch.cat([network.transform(m, masked=True)[n] for m in maps]) for n in maps[0]}
        right = []
        for episode in sample_episodes(
            [len(p) for p in pixels],
            way=setting.way,
            shot=setting.shot,
            queries=setting.queries,
            episodes=setting.episodes,
            seed=setting.seed,
        ):
            start = first[np.array(episode.classes)][:, None]
            s, q = (
                torch.from_numpy(start + episode.support),
                torch.from_numpy((start + episode.query).ravel()),
            )
            distances = network.distances(
                {n: t[q] for n, t in query.items()}, {n: t[s].flatten(1, 2) for n, t in support.items()}
            )
            truth = torch.arange(setting.way).repeat_interleave(setting.queries)
            right.append(float((network.fusion(distances).argmax(dim=1) == truth).double().mean()))
    return 100 * float(np.mean(right))


@pytest.mark.slow
@pytest.mark.parametrize("shot", [1, 5])
def test_the_default_model_is_as_accurate_as_in_torch(shot, shared):
    dataset = open_dataset(shared("data/birds_cub.zip"), "val")
    setting = EpisodeSetting(way=5, shot=shot, queries=10, episodes=60, seed=shot)
    network = load_checkpoint(resolve_checkpoint("default")).network
    preprocessing = Preprocessing("crop", network.config.side)
    expected = torch_accuracy(network, dataset, preprocessing, setting)
    (found,) = evaluate(BundleScorer(load("default", variant="fp32")), dataset.classes, [setting])
    assert found.accuracy == pytest.approx(expected, abs=0.1)
    (again,) = evaluate(NetworkScorer(network), dataset.classes, [setting])
    assert again.accuracy == pytest.approx(expected, abs=0.1)


@pytest.mark.slow
def test_the_authors_model_is_as_accurate_as_in_torch(shared, exported):
    dataset = open_dataset(shared("data/birds_cub.zip"), "val")
    setting = EpisodeSetting(way=5, shot=5, queries=4, episodes=20)
    checkpoint = shared("reference/conv4_cub.pth")
    expected = torch_accuracy(load_checkpoint(checkpoint).network, dataset, SQUASH, setting)
    recognizer = load(exported(checkpoint, preprocessing="squash"))
    (found,) = evaluate(BundleScorer(recognizer), dataset.classes, [setting])
    assert found.accuracy == pytest.approx(expected, abs=0.1)
