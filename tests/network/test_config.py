from __future__ import annotations

import itertools
import json

import pytest

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.errors import CheckpointError

LEVELS = (("high", "mid"), ("high",), ("mid",))
ALL = list(itertools.product(("conv4", "resnet12"), ("ridge", "attention"), LEVELS))


@pytest.mark.parametrize("choices", ALL, ids=lambda c: f"{c[0]}-{c[1]}-{'+'.join(c[2])}")
def test_every_configuration_survives_json(choices):
    config = NetworkConfig(*choices)
    values = json.loads(json.dumps(config.to_dict()))
    assert values == {
        "backbone": choices[0],
        "head": choices[1],
        "levels": list(choices[2]),
        "side": 84,
        "projection": {},
    }
    assert NetworkConfig.from_dict(values) == config


def test_the_default_is_conv4_with_the_ridge_head_on_both_levels():
    assert NetworkConfig() == NetworkConfig("conv4", "ridge", ("high", "mid"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "conv5"}, r"unknown backbone 'conv5': choose one of conv4, resnet12"),
        ({"head": "linear"}, r"unknown head 'linear': choose one of ridge, attention"),
        ({"levels": ("mid", "high")}, r"levels \('mid', 'high'\) are none of"),
        ({"levels": ("high", "high")}, r"levels \('high', 'high'\) are none of"),
        ({"levels": ("low",)}, r"levels \('low',\) are none of"),
        ({"levels": ()}, r"levels \(\) are none of"),
    ],
)
def test_an_unknown_name_is_refused_by_name(changes, message):
    with pytest.raises(CheckpointError, match=message):
        NetworkConfig(**changes)
    values = {"backbone": "conv4", "head": "ridge", "levels": ["high", "mid"]} | changes
    with pytest.raises(CheckpointError, match=message):
        NetworkConfig.from_dict(values)


@pytest.mark.parametrize("key", ["backbone", "head", "levels"])
def test_a_missing_entry_is_refused(key):
    values = NetworkConfig().to_dict()
    del values[key]
    with pytest.raises(CheckpointError, match="network configuration has entries"):
        NetworkConfig.from_dict(values)


def test_an_unknown_entry_is_refused_by_name():
    with pytest.raises(CheckpointError, match="'depth'"):
        NetworkConfig.from_dict({**NetworkConfig().to_dict(), "depth": 3})


@pytest.mark.parametrize(
    ("backbone", "channels"), [("conv4", {"high": 64, "mid": 64}), ("resnet12", {"high": 640, "mid": 320})]
)
@pytest.mark.parametrize("levels", LEVELS)
def test_levels_have_the_widths_of_the_backbone(backbone, channels, levels):
    config = NetworkConfig(backbone, "ridge", levels)
    specs = {level.name: (level.channels, level.tokens) for level in config.level_specs}
    assert specs == {name: (channels[name], {"high": 25, "mid": 100}[name]) for name in levels}
    assert tuple(specs) == levels
    # The divisor is of the high level, whether or not it is in use.
    assert config.logit_divisor == 25 * channels["high"]


@pytest.mark.parametrize(
    ("backbone", "levels", "tokens"),
    [
        ("conv4", ("high", "mid"), False),  # 8,000 numbers against 4,160
        ("conv4", ("high",), True),  # 1,600 against 2,080
        ("conv4", ("mid",), False),  # 6,400 against 2,080
        ("resnet12", ("high", "mid"), True),  # 48,000 against 256,480
        ("resnet12", ("high",), True),
        ("resnet12", ("mid",), True),  # 32,000 against 51,360
    ],
)
def test_a_gallery_keeps_the_smaller_form(backbone, levels, tokens):
    assert NetworkConfig(backbone, "ridge", levels).keeps_tokens() is tokens


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        NetworkConfig().head = "attention"


def test_the_entries_of_earlier_checkpoints_are_enough():
    values = {"backbone": "resnet12", "head": "attention", "levels": ["high"]}
    assert NetworkConfig.from_dict(values) == NetworkConfig("resnet12", "attention", ("high",), 84, {})


def test_the_number_of_transformer_layers_is_stored_where_it_is_not_the_papers():
    assert "transformer_layers" not in NetworkConfig().to_dict()
    config = NetworkConfig(transformer_layers=1)
    assert config.to_dict()["transformer_layers"] == 1
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert {len(t.layers) for t in HMDRN(config).transformers.values()} == {1}
    with pytest.raises(CheckpointError, match="transformer_layers is 0: give 1 or more"):
        NetworkConfig(transformer_layers=0)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_efficientnet_lite_is_projected_to_128_and_64_at_128_pixels(variant):
    config = NetworkConfig(f"efficientnet-lite{variant}")
    assert config.side == 128
    assert [(s.name, s.channels, s.tokens) for s in config.level_specs] == [
        ("high", 128, 16),
        ("mid", 64, 64),
    ]
    assert config.logit_divisor == 16 * 128
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(("side", "tokens"), [(112, (16, 49)), (160, (25, 100)), (224, (49, 196))])
def test_tokens_follow_the_side(side, tokens):
    config = NetworkConfig("efficientnet-lite0", side=side)
    assert tuple(s.tokens for s in config.level_specs) == tokens


@pytest.mark.parametrize("backbone", ["conv4", "resnet12"])
def test_the_papers_backbones_take_other_sides_too(backbone):
    config = NetworkConfig(backbone, side=128)
    assert [s.tokens for s in config.level_specs] == [64, 256]


def test_a_projection_can_be_left_out_or_given():
    plain = NetworkConfig("efficientnet-lite0", projection={})
    assert [s.channels for s in plain.level_specs] == [320, 112]
    narrow = NetworkConfig("efficientnet-lite0", projection={"high": 96})
    assert [s.channels for s in narrow.level_specs] == [96, 112]


def test_one_level_takes_its_own_default_projection_alone():
    config = NetworkConfig("efficientnet-lite0", levels=("high",))
    assert config.projection == {"high": 128}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"side": 100},
            "side 100 does not fit efficientnet-lite0: give 128, or a multiple of 16",
        ),
        ({"side": 16}, "side 16 does not fit"),
        ({"projection": {"high": 640}}, "level high .* has 320 channels and cannot be projected to 640"),
        ({"projection": {"high": 63}}, "give an even width from 2 to 320"),
        ({"projection": {"high": 0}}, "give an even width from 2 to 320"),
        ({"levels": ("high",), "projection": {"mid": 64}}, "level 'mid', which is not among high"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_in_one_line(changes, message):
    with pytest.raises(CheckpointError, match=message) as error:
        NetworkConfig("efficientnet-lite0", **changes)
    assert "\n" not in str(error.value)
