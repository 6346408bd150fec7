from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import torch
from tiny_distillation import CONFIG, cached_group, groups

from hmdrn_network.training.distillation.sampling import Sampler, merge_classes


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def named(name: str, *labels: str):
    return dataclasses.replace(cached_group(name, len(labels), 2), labels=labels)


def test_classes_of_merged_groups_are_one_where_their_letters_agree():
    first = named("a", "047.American_Goldfinch", "001.Black_footed_Albatross")
    second = named("b", "AMERICAN GOLDFINCH", "ZEBRA DOVE")
    third = named("c", "AMERICAN GOLDFINCH", "ZEBRA DOVE")
    targets = merge_classes([first, second, third], {"a", "b"})
    assert [t.tolist() for t in targets] == [[0, 1], [0, 2], [3, 4]]


def test_a_batch_has_maps_classes_and_the_features_of_their_views():
    config = dataclasses.replace(CONFIG, pretrain_batch=40, flip=False)
    sampler = Sampler(groups(), config)
    batch = sampler.draw_batch(rng())
    assert batch.maps.shape == (40, 40, 4, 4)
    assert batch.maps.dtype == torch.float32
    views = [torch.from_numpy(m).float().permute(0, 3, 1, 2) for g in groups() for m in g.maps[:2]]
    taught = set(batch.rows["birds.v1"].tolist())
    for place, (photo, target) in enumerate(zip(batch.maps, batch.targets.tolist(), strict=True)):
        # Classes 0 to 5 are birds with 5 photos each, 6 to 9 cars with 4.
        own = views[:2] if target < 6 else views[2:]
        rows = (
            range(5 * target, 5 * target + 5) if target < 6 else range(4 * (target - 6), 4 * (target - 6) + 4)
        )
        matches = [v for v in (0, 1) for row in rows if torch.equal(own[v][row], photo)]
        assert len(matches) == 1
        assert (place in taught) == (target < 6 and matches[0] == 0)


def test_features_are_centered_over_the_photos_of_the_teacher():
    sampler = Sampler(groups(), CONFIG)
    mean = np.asarray(groups()[0].features[0], np.float32).mean(axis=0)
    np.testing.assert_allclose(sampler.centers["birds.v1"].numpy(), mean, rtol=1e-5, atol=1e-6)


def test_an_episode_has_the_same_classes_for_support_and_query():
    sampler = Sampler(groups(), CONFIG)
    shots = set()
    for seed in range(20):
        episode = sampler.draw_episode(rng(seed))
        shots.add(episode.shot)
        support = episode.batch.targets[: episode.way * episode.shot].reshape(episode.way, episode.shot)
        assert (support == support[:, :1]).all()
        assert len(set(support[:, 0].tolist())) == episode.way == 3
        query = episode.batch.targets[episode.way * episode.shot :]
        assert torch.equal(support[:, 0][episode.targets], query)
    assert shots == {1, 2}


def test_photos_of_an_episode_are_all_different():
    episode = Sampler(groups(), dataclasses.replace(CONFIG, flip=False)).draw_episode(rng(3))
    flat = episode.batch.maps.flatten(1)
    assert len(torch.unique(flat, dim=0)) == len(flat)


def test_hard_episodes_take_neighbors_in_the_features_of_the_teacher():
    group = cached_group("birds", 12, 4, "t")
    # Two bunches of six classes, far apart.
    near = np.repeat(np.eye(12), 4, axis=0)
    near[:, 0] += np.repeat([5.0] * 6 + [-5.0] * 6, 4)
    group = dataclasses.replace(group, features=[near.astype(np.float16)])
    config = dataclasses.replace(CONFIG, hard_share=0.999, max_shot=1)
    sampler = Sampler([group], config)
    halves = Counter()
    for seed in range(30):
        classes = set(sampler.draw_episode(rng(seed)).batch.targets[:3].tolist())
        halves[len({c // 6 for c in classes})] += 1
    assert halves[1] >= 28


def test_a_group_of_weight_zero_is_never_drawn():
    config = dataclasses.replace(CONFIG, group_weights={"birds": 0.0})
    sampler = Sampler(groups(), config)
    assert sampler.draw_batch(rng()).targets.min() >= 6
    assert all(sampler.draw_episode(rng(s)).batch.targets.min() >= 6 for s in range(10))


def test_episodes_can_have_weights_of_their_own():
    config = dataclasses.replace(CONFIG, episode_weights={"birds": 0.0}, pretrain_batch=64)
    sampler = Sampler(groups(), config)
    assert sampler.draw_batch(rng()).targets.min() < 6
    assert all(sampler.draw_episode(rng(s)).batch.targets.min() >= 6 for s in range(10))
