from __future__ import annotations

import dataclasses
import json

import pytest

from hmdrn_network.config import NetworkConfig
from hmdrn_network.training.distillation.recipe import Recipe, load_recipe
from hmdrn_runtime.errors import CheckpointError, TrainingError

SMALL = {
    "name": "small",
    "network": {"backbone": "efficientnet-lite0", "head": "ridge", "levels": ["high", "mid"]},
}


def test_the_default_recipe_is_lite0_at_128_pixels():
    recipe = load_recipe("default")
    assert recipe.network.backbone == "efficientnet-lite0"
    assert recipe.network.side == 128
    assert recipe.teachers["birds_cub2010"].model == "inat_birds.tflite"
    assert recipe.views_of("mini_imagenet_84px") < recipe.views_of("dogs") == recipe.views


def test_the_accurate_recipe_is_the_default_network_at_a_larger_side():
    default, accurate = load_recipe("default"), load_recipe("accurate")
    assert dataclasses.replace(accurate.network, side=default.network.side) == default.network
    assert accurate.network.side == 192
    assert accurate.teachers == default.teachers


def test_the_recipe_of_one_layer_learns_from_a_guide_at_the_side_of_the_accurate_model():
    default, accurate, one = (load_recipe(name) for name in ("default", "accurate", "one-layer"))
    assert dataclasses.replace(one.network, transformer_layers=3) == default.network
    assert one.network.transformer_layers == 1
    assert one.guide_side == accurate.network.side
    assert one.training.guide_weight > 0


def test_the_recipe_for_fine_tuning_takes_the_network_of_its_start_and_holds_photos_out():
    start = NetworkConfig("efficientnet-lite0", side=160, transformer_layers=1)
    recipe = load_recipe("finetune", start)
    assert recipe.network == start
    assert recipe.training.pretrain_steps == 0
    assert 0 < recipe.val_photos <= 0.5
    assert load_recipe("default", start).network.side == 128, "its own network"
    with pytest.raises(TrainingError, match="'finetune' continues a trained network: give it by --init"):
        load_recipe("finetune")


def test_a_recipe_survives_json(tmp_path):
    recipe = load_recipe("default")
    path = tmp_path / "copy.json"
    path.write_text(json.dumps(recipe.to_dict()))
    assert load_recipe(str(path)) == recipe


def test_settings_that_are_left_out_have_their_defaults():
    recipe = Recipe.from_dict(SMALL)
    assert recipe.training.way == 20
    assert recipe.merged == ()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"color": 1}, TrainingError, "missing or unknown entries"),
        ({"training": {"ways": 3}}, TrainingError, "missing or unknown entries"),
        ({"training": {"way": 0}}, TrainingError, "way is 0"),
        (
            {"training": {"averaging": 1.0}},
            TrainingError,
            r"averaging is 1\.0: it must be at least 0 and below 1",
        ),
        ({"training": {"group_weights": {"a": -1}}}, TrainingError, "the weight of group a is -1"),
        ({"network": {**SMALL["network"], "side": 100}}, CheckpointError, "side 100 does not fit"),
    ],
)
def test_mistakes_in_a_recipe_are_refused_in_one_line(changes, error, message):
    with pytest.raises(error, match=message) as caught:
        Recipe.from_dict({**SMALL, **changes})
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_refused_with_the_names_of_the_known_ones(tmp_path):
    names = r"one of the package \(accurate, default, finetune, one-layer\)"
    with pytest.raises(TrainingError, match=names):
        load_recipe(str(tmp_path / "missing.json"))
