"""Summaries of a guide, against the network itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_distillation import CONFIG, NETWORK, groups, random_guide
from torch.nn import functional as F

from hmdrn_network.checkpoints import Checkpoint, ModelCard
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.distillation.cache import augmented_view, decode_photos
from hmdrn_network.training.distillation.guide import Guide, GuideRunner, open_guide
from hmdrn_network.training.distillation.recipe import Recipe
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.errors import CheckpointError, TrainingError
from hmdrn_runtime.progress import ignore_progress

RECIPE = Recipe("tiny", NETWORK, CONFIG)
MAP_SIDES = {"high": 1, "mid": 2}


def projected_maps(guide: Guide) -> dict[str, torch.Tensor]:
    """Maps of the first photos of a group."""
    network = guide.network
    maps = torch.from_numpy(groups()[0].maps[0][:10]).float().permute(0, 3, 1, 2)
    with torch.inference_mode():
        return network.project(network.backbone(maps, CONFIG.frozen_stages))


def test_answers_from_summaries_in_half_precision_are_those_of_the_network():
    guide = random_guide()
    maps = projected_maps(guide)
    with torch.inference_mode():
        expected, _ = guide.network.compare_episode(maps, 3, 2)
        answers = guide.answer(guide.summarize(maps).half().float(), 3, 2)
    assert answers.shape == (4, 3)
    assert expected.std() > 0.1
    torch.testing.assert_close(answers, expected, rtol=2e-3, atol=2e-3)


def test_maps_of_the_students_side_are_read_as_they_are_and_mirrored_where_asked():
    guide = random_guide()
    maps = projected_maps(guide)
    mirrored = torch.arange(10) % 3 == 0
    with torch.inference_mode():
        read = guide.read_maps(guide.summarize(maps), mirrored)
    for name, level in maps.items():
        torch.testing.assert_close(read[name][mirrored], level[mirrored].flip(3))
        torch.testing.assert_close(read[name][~mirrored], level[~mirrored])


def test_maps_of_another_side_are_averaged_to_the_students():
    network = HMDRN(dataclasses.replace(NETWORK, side=96))
    guide = Guide(network, "", {"high": 2, "mid": 4})
    maps = {"high": torch.randn(2, 16, 3, 3), "mid": torch.randn(2, 8, 6, 6)}
    with torch.inference_mode():
        read = guide.read_maps(guide.summarize(maps), torch.zeros(2, dtype=torch.bool))
    for name, level in maps.items():
        torch.testing.assert_close(read[name], F.adaptive_avg_pool2d(level, guide.map_sides[name]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided")
    rng = np.random.default_rng(0)
    for label in "ab":
        (folder / "birds" / label).mkdir(parents=True)
        for i in range(2):
            small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            small.resize((90, 80), Image.Resampling.BICUBIC).save(folder / "birds" / label / f"{i}.png")
    dataset = open_dataset(folder / "birds")
    return decode_photos(dataset, "birds", folder / "cache", 32, True, ignore_progress)


@pytest.fixture
def guide():
    network = HMDRN(dataclasses.replace(NETWORK, side=64))
    return Guide(network, "first", MAP_SIDES)


def run_in_torch(runner: GuideRunner) -> list[np.ndarray]:
    """Let torch stand in for ONNX Runtime; the views that were run."""
    runs = []

    @torch.inference_mode()
    def run(images):
        runs.append(images)
        return runner.guide(torch.from_numpy(images)).numpy()

    runner._run = run
    return runs


def test_a_guide_sees_the_crops_of_the_student_at_its_own_side(photos, guide, tmp_path):
    runner = GuideRunner(guide, 1)
    runs = run_in_torch(runner)
    summaries = runner.summarize_views(photos, tmp_path, 2, ignore_progress)
    assert summaries.shape == (4, 2, guide.width)
    assert summaries.dtype == np.float16
    for view, images in enumerate(runs):
        assert images.shape == (4, 64, 64, 3)
        with torch.inference_mode():
            expected = guide(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(summaries[:, view], expected, rtol=1e-3, atol=1e-5)
        students = augmented_view(photos.pixels, "birds", 0, view, 32)
        halved = images.reshape(4, 32, 2, 32, 2, 3).mean(axis=(2, 4))
        assert np.abs(halved - students).mean() < 3
        assert np.abs(halved[:, :, ::-1] - students).mean() > 10


def test_summaries_are_kept_until_the_guide_is_another(photos, guide, tmp_path):
    runner = GuideRunner(guide, 1)
    runs = run_in_torch(runner)
    first = np.array(runner.summarize_views(photos, tmp_path, 1, ignore_progress))
    again = runner.summarize_views(photos, tmp_path, 1, ignore_progress)
    assert len(runs) == 1
    np.testing.assert_array_equal(first, again)
    other = GuideRunner(Guide(guide.network, "second", MAP_SIDES), 1)
    runs = run_in_torch(other)
    other.summarize_views(photos, tmp_path, 1, ignore_progress)
    assert len(runs) == 1


def test_summaries_that_half_precision_cannot_hold_are_refused(photos, guide, tmp_path):
    torch.nn.init.constant_(guide.network.transformers["mid"].norm.weight, 1e4)
    runner = GuideRunner(guide, 1)
    run_in_torch(runner)
    with pytest.raises(TrainingError, match="too large for half precision"):
        runner.summarize_views(photos, tmp_path, 1, ignore_progress)


@pytest.mark.slow
def test_onnx_runtime_computes_the_summaries_of_torch(guide):
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = guide(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(GuideRunner(guide, 1)._run(images), expected, rtol=1e-3, atol=1e-4)


def checkpoint(**changes: object) -> Checkpoint:
    config = dataclasses.replace(NETWORK, **changes)
    return Checkpoint(HMDRN(config), ModelCard("guide"), "0123")


def test_a_guide_runs_at_its_own_side_or_at_the_recipes():
    better = checkpoint(side=64, transformer_layers=1)
    own = open_guide(better, RECIPE)
    assert own.record == {"sha256": "0123", "side": 64}
    assert own.map_sides == MAP_SIDES
    wider = open_guide(better, dataclasses.replace(RECIPE, guide_side=96))
    assert wider.network.config == dataclasses.replace(better.network.config, side=96)
    for name, value in better.network.state_dict().items():
        assert torch.equal(value, wider.network.state_dict()[name])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"head": "attention"}, "has the head 'attention' .* needs the head 'ridge'"),
        ({"levels": ("high",), "projection": {"high": 16}}, r"levels high: .* student's levels, high\+mid"),
        (
            {"projection": {"high": 32, "mid": 8}},
            r"\[32, 8\] channels, the student's \[16, 8\]: .* guide_map_weight to 0",
        ),
    ],
)
def test_a_network_that_cannot_guide_is_refused_in_one_line(config, message):
    with pytest.raises(CheckpointError, match=message):
        open_guide(checkpoint(**config), RECIPE)


def test_a_guide_of_another_backbone_gives_answers_alone():
    recipe = dataclasses.replace(RECIPE, training=dataclasses.replace(CONFIG, guide_map_weight=0.0))
    guide = open_guide(dataclasses.replace(checkpoint(), network=HMDRN(NetworkConfig("conv4"))), recipe)
    assert guide.map_sides == {}
    assert guide.width == 4 * 64 * 65 // 2


def test_a_recipe_that_needs_a_guide_asks_for_it():
    assert open_guide(None, RECIPE) is None
    with pytest.raises(TrainingError, match="'tiny' needs a guide: give a better network's checkpoint"):
        open_guide(None, dataclasses.replace(RECIPE, guide_side=0))
