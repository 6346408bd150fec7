"""The names that the authors' code gives to the weights, and ours.

Two spellings exist: `fsrm1/2` (transformers) with `hhdcm1/2` (heads) in the released files, `mtfem1/2` with
`clarm1/2` in later code; 1 is the high level, 2 the mid one.
"""

from __future__ import annotations

import re

_LEVELS = {"1": "high", "2": "mid"}
_CONV4_PARTS = {"0": "conv", "1": "norm"}
_RESIDUAL_PARTS = {
    **{f"conv{i}": f"conv{i}" for i in (1, 2, 3)},
    **{f"bn{i}": f"norm{i}" for i in (1, 2, 3)},
    "downsample.0": "shortcut_conv",
    "downsample.1": "shortcut_norm",
}
_LAYER_PARTS = {
    "self_attn.qkv": "attention.qkv",
    "self_attn.proj": "attention.out",
    "pre_norm": "pre_norm",
    "norm1": "norm",
    "linear1": "mlp_in",
    "linear2": "mlp_out",
}

_CONV4 = re.compile(r"feature_extractor\.conv([1-4])\.layers\.([01])\.(\w+)")
_RESNET = re.compile(r"feature_extractor\.layer([1-4])\.0\.(conv[123]|bn[123]|downsample\.[01])\.(\w+)")
_LAYER = re.compile(r"(?:fsrm|mtfem)([12])\.transformer\.blocks\.(\d+)\.([a-z0-9_.]+)\.(weight|bias)")
_FINAL_NORM = re.compile(r"(?:fsrm|mtfem)([12])\.transformer\.norm\.(weight|bias)")
_HEAD = re.compile(r"(?:hhdcm|clarm)([12])\.to_qkv\.0\.weight")
_DERIVED = re.compile(r"(?:fsrm|mtfem)[12]\.transformer\.positional_emb|.*\.num_batches_tracked")


def is_derived(key: str) -> bool:
    """Whether an authors' entry can be left out: position tables and batch counters."""
    return _DERIVED.fullmatch(key) is not None


def translate(key: str) -> str | None:
    """Our name for one of the authors', or None if it is not one of theirs."""
    if key == "scale":
        return "fusion.scale"
    if key in ("w1", "w2"):
        return f"fusion.weight.{_LEVELS[key[1]]}"
    if m := _CONV4.fullmatch(key):
        return f"backbone.blocks.{int(m[1]) - 1}.{_CONV4_PARTS[m[2]]}.{m[3]}"
    if m := _RESNET.fullmatch(key):
        return f"backbone.blocks.{int(m[1]) - 1}.{_RESIDUAL_PARTS[m[2]]}.{m[3]}"
    if (m := _LAYER.fullmatch(key)) and m[3] in _LAYER_PARTS:
        return f"transformers.{_LEVELS[m[1]]}.layers.{m[2]}.{_LAYER_PARTS[m[3]]}.{m[4]}"
    if m := _FINAL_NORM.fullmatch(key):
        return f"transformers.{_LEVELS[m[1]]}.norm.{m[2]}"
    if m := _HEAD.fullmatch(key):
        return f"heads.{_LEVELS[m[1]]}.qkv.weight"
    return None
