from __future__ import annotations

import pytest

from hmdrn_network.authors import is_derived, translate
from hmdrn_network.checkpoints import canonical_weights
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN

LEVELS = (("high", "mid"), ("high",), ("mid",))


@pytest.mark.parametrize("spelling", ["fsrm", "mtfem"])
@pytest.mark.parametrize("levels", LEVELS, ids="+".join)
@pytest.mark.parametrize("backbone", ["conv4", "resnet12"])
def test_the_authors_names_map_to_each_name_of_the_network_once(authors_entries, backbone, levels, spelling):
    entries = authors_entries(backbone, levels, spelling=spelling)
    ours = canonical_weights(HMDRN(NetworkConfig(backbone, "attention", levels)))
    names = {translate(key): key for key in entries if not is_derived(key)}
    assert set(names) == set(ours)
    assert len(names) == sum(not is_derived(key) for key in entries)
    for name, key in names.items():
        assert entries[key].numel() == ours[name].numel()
        if ours[name].dim():
            assert entries[key].shape == ours[name].shape


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("scale", "fusion.scale"),
        ("w1", "fusion.weight.high"),
        ("w2", "fusion.weight.mid"),
        ("feature_extractor.conv1.layers.0.bias", "backbone.blocks.0.conv.bias"),
        ("feature_extractor.conv4.layers.1.running_var", "backbone.blocks.3.norm.running_var"),
        ("feature_extractor.layer2.0.conv3.weight", "backbone.blocks.1.conv3.weight"),
        ("feature_extractor.layer2.0.bn3.running_mean", "backbone.blocks.1.norm3.running_mean"),
        ("feature_extractor.layer4.0.downsample.0.weight", "backbone.blocks.3.shortcut_conv.weight"),
        ("feature_extractor.layer4.0.downsample.1.bias", "backbone.blocks.3.shortcut_norm.bias"),
        ("fsrm1.transformer.norm.bias", "transformers.high.norm.bias"),
        ("mtfem2.transformer.norm.bias", "transformers.mid.norm.bias"),
        ("fsrm2.transformer.blocks.1.self_attn.qkv.weight", "transformers.mid.layers.1.attention.qkv.weight"),
        ("mtfem1.transformer.blocks.2.self_attn.proj.bias", "transformers.high.layers.2.attention.out.bias"),
        ("fsrm1.transformer.blocks.0.pre_norm.weight", "transformers.high.layers.0.pre_norm.weight"),
        ("fsrm1.transformer.blocks.0.norm1.weight", "transformers.high.layers.0.norm.weight"),
        ("fsrm1.transformer.blocks.0.linear1.bias", "transformers.high.layers.0.mlp_in.bias"),
        ("fsrm1.transformer.blocks.0.linear2.bias", "transformers.high.layers.0.mlp_out.bias"),
        ("hhdcm1.to_qkv.0.weight", "heads.high.qkv.weight"),
        ("clarm2.to_qkv.0.weight", "heads.mid.qkv.weight"),
    ],
)
def test_a_name_is_translated(key, name):
    assert translate(key) == name
    assert not is_derived(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "w3",
        "scale.weight",
        "feature_extractor.conv5.layers.0.weight",
        "feature_extractor.conv1.layers.2.weight",
        "feature_extractor.layer1.1.conv1.weight",
        "feature_extractor.layer1.0.conv4.weight",
        "feature_extractor.layer1.0.downsample.2.weight",
        "fsrm3.transformer.norm.weight",
        "fsrm1.transformer.blocks.0.norm2.weight",
        "fsrm1.transformer.blocks.x.norm1.weight",
        "fsrm1.transformer.norm.running_mean",
        "hhdcm1.to_qkv.0.bias",
        "hhdcm1.to_qkv.1.weight",
        "module.scale",
        "xfsrm1.transformer.norm.weight",
        "fsrm1.transformer.norm.weight.more",
        "fusion.scale",
    ],
)
def test_a_name_that_is_none_of_the_authors_has_no_translation(key):
    assert translate(key) is None
    assert not is_derived(key)


@pytest.mark.parametrize(
    "key",
    [
        "fsrm1.transformer.positional_emb",
        "mtfem2.transformer.positional_emb",
        "feature_extractor.conv1.layers.1.num_batches_tracked",
        "feature_extractor.layer1.0.bn2.num_batches_tracked",
    ],
)
def test_position_tables_and_batch_counters_are_derived(key):
    assert is_derived(key)
