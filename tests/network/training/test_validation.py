from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.scoring import NetworkScorer
from hmdrn_network.training.validation import Validation, pool_small_groups
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.errors import DatasetError, TrainingError
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting, evaluate


@pytest.fixture
def groups(tmp_path: Path):
    """Photos of plain colors: {group: {class: photos}} with the given numbers of photos."""

    def made(**sizes: tuple[int, ...]):
        datasets = {}
        for group, counts in sizes.items():
            for label, count in enumerate(counts):
                for i in range(count):
                    path = tmp_path / group / f"class {label}" / f"{i}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.new("RGB", (90, 90), (40 * label, 9 * i, 100)).save(path)
            datasets[group] = open_dataset(tmp_path / group).classes
        return datasets

    return made


@pytest.fixture(scope="module")
def network() -> HMDRN:
    torch.manual_seed(0)
    return HMDRN(NetworkConfig()).eval()


def test_a_validation_has_the_accuracies_of_evaluate(groups, network):
    photos = groups(birds=(4, 4, 4, 4, 4, 4))
    accuracies = Validation(photos, shots=(1, 2), episodes=3).measure(network)
    settings = [EpisodeSetting(5, shot, 4 - shot, 3) for shot in (1, 2)]
    expected = evaluate(NetworkScorer(network), photos["birds"], settings)
    assert list(accuracies) == ["birds 5-way 1-shot", "birds 5-way 2-shot"]
    for percent, result in zip(accuracies.values(), expected, strict=True):
        np.testing.assert_allclose(percent, 100 * result.episode_accuracies)


def test_unreadable_photos_are_left_out_and_named(groups, tmp_path):
    groups(birds=(3,) * 5)
    for name in ("class 0/0.png", "class 1/2.png"):
        (tmp_path / "birds" / name).write_bytes(b"not an image")
    validation = Validation({"birds": open_dataset(tmp_path / "birds").classes}, shots=(1,), episodes=2)
    assert [len(photos) for photos in validation.groups["birds"].values()] == [2, 2, 3, 3, 3]
    assert validation.settings["birds"] == [EpisodeSetting(5, 1, 1, 2)]
    assert [name in reason for name, reason in zip(("0/0", "1/2"), validation.unreadable, strict=True)]
    assert len(validation.unreadable) == 2


def test_groups_of_fewer_than_five_classes_are_pooled(groups, network):
    photos = groups(birds=(3,) * 5, moths=(3, 3), fish=(3, 3))
    assert list(Validation(photos, shots=(1,), episodes=2).measure(network)) == [
        "birds 5-way 1-shot",
        "moths+fish 4-way 1-shot",
    ]


def test_pooled_classes_have_the_names_of_their_groups():
    large = {f"c{i}": i for i in range(5)}
    pooled = pool_small_groups({"a": large, "b": {"x": 1, "y": 2}, "c": {"x": 3}, "d": {}})
    assert pooled == {"a": large, "b+c": {"b/x": 1, "b/y": 2, "c/x": 3}}
    with pytest.raises(DatasetError, match=r"two groups are called 'b\+c'"):
        pool_small_groups({"b+c": large, "b": {"x": 1}, "c": {"x": 2}})


def test_shots_that_the_classes_do_not_have_are_left_out(groups, network):
    photos = groups(birds=(3, 3, 3, 3, 3))
    assert list(Validation(photos, shots=(1, 5), episodes=2).measure(network)) == ["birds 5-way 1-shot"]


def test_classes_too_small_for_any_episode_are_refused(groups):
    with pytest.raises(TrainingError, match="too few photos for any episode"):
        Validation(groups(birds=(1, 1, 1)), shots=(1,))
    with pytest.raises(TrainingError, match="too few photos for any episode"):
        Validation(groups(moths=(9,)), shots=(1,))


def test_a_network_is_measured_in_evaluation_mode(groups, network):
    network.train()
    Validation(groups(birds=(2,) * 5), shots=(1,), episodes=1).measure(network)
    assert not network.training
