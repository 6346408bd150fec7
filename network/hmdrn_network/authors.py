"""Weights written by the code of HMDRN's authors, and their names in this package.

Two spellings exist: `fsrm1/2` (transformers) with `hhdcm1/2` (heads) in the released files, `mtfem1/2` with
`clarm1/2` in later code; 1 is the high level, 2 the mid one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.config import NetworkConfig
from hmdrn_runtime.errors import CheckpointError

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


def read_authors_weights(path: Path) -> dict[str, Tensor]:
    """Read a torch file of the authors; unknown entries keep their names.

    Returns:
        Weights under this package's names, without position tables and batch counters.

    Raises:
        CheckpointError: The file is damaged, holds more than weights, or is not an HMDRN of the authors.
    """
    try:
        # weights_only: a pickle may run code, this reader may not.
        entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(
            f"{path} cannot be read as a torch file of plain weights ({type(error).__name__}): it is "
            "damaged, or holds more than weights; save network.state_dict() alone"
        ) from error
    if not isinstance(entries, dict) or not all(isinstance(v, Tensor) for v in entries.values()):
        raise CheckpointError(f"{path} is not a plain state dict: save network.state_dict() alone")
    # DataParallel puts a prefix before every name.
    entries = {str(key).removeprefix("module."): value for key, value in entries.items()}
    names = {key: translate(key) for key in entries if not is_derived(key)}
    if all(name is None for name in names.values()):
        raise CheckpointError(
            f"{path} is not an HMDRN checkpoint of its authors: {len(names)} unexpected "
            f"({', '.join(sorted(names))})"
        )
    counts = Counter(name for name in names.values() if name is not None)
    if twice := sorted(key for key, name in names.items() if name is not None and counts[name] > 1):
        raise CheckpointError(f"{path} gives entries in both of the authors' spellings: {', '.join(twice)}")
    return {name or key: entries[key] for key, name in names.items()}


def detect_config(weights: Mapping[str, Tensor], path: Path) -> NetworkConfig:
    """Detect backbone and levels from the names of weights; the authors' networks have attention heads.

    Raises:
        CheckpointError: No level has a transformer.
    """
    residual = any(re.match(r"backbone\.blocks\.\d\.(conv[123]|shortcut_conv)\.", name) for name in weights)
    names: tuple[LevelName, ...] = ("high", "mid")
    levels = tuple(
        level for level in names if any(name.startswith(f"transformers.{level}.") for name in weights)
    )
    if not levels:
        raise CheckpointError(
            f"{path} has no transformer of either level (fsrm1/2 or mtfem1/2): it is not an HMDRN"
        )
    return NetworkConfig("resnet12" if residual else "conv4", "attention", levels)


def is_derived(key: str) -> bool:
    """Return True for entries of the authors that can be left out: position tables and batch counters."""
    return _DERIVED.fullmatch(key) is not None


def translate(key: str) -> str | None:
    """Return this package's name of an entry of the authors, or None for an unknown entry."""
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
