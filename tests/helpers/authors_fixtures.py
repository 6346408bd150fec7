"""State dicts as the authors write them, made without the package's own table of names."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

if TYPE_CHECKING:  # a base install has no torch
    import torch

Entries: TypeAlias = "dict[str, torch.Tensor]"

LEVELS = {"high": "1", "mid": "2"}
WIDTHS = {
    "conv4": {"blocks": (64, 64, 64, 64), "high": 64, "mid": 64},
    "resnet12": {"blocks": (64, 160, 320, 640), "high": 640, "mid": 320},
}


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (width,)


def _shapes(backbone: str, levels: tuple[str, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every entry that training changes, in the authors' later spelling."""
    yield "scale", (1,)
    for level in levels:
        yield f"w{LEVELS[level]}", (1,)
    widths = WIDTHS[backbone]["blocks"]
    for i, (before, width) in enumerate(zip((3, *widths), widths, strict=False), start=1):
        if backbone == "conv4":
            block = f"feature_extractor.conv{i}.layers"
            yield f"{block}.0.weight", (width, before, 3, 3)
            yield f"{block}.0.bias", (width,)
            yield from _norm(f"{block}.1", width)
            continue
        block = f"feature_extractor.layer{i}.0"
        for j in (1, 2, 3):
            yield f"{block}.conv{j}.weight", (width, before if j == 1 else width, 3, 3)
            yield from _norm(f"{block}.bn{j}", width)
        yield f"{block}.downsample.0.weight", (width, before, 1, 1)
        yield from _norm(f"{block}.downsample.1", width)
    for level in levels:
        d = WIDTHS[backbone][level]
        transformer = f"mtfem{LEVELS[level]}.transformer"
        for i in range(3):
            layer = f"{transformer}.blocks.{i}"
            yield f"{layer}.self_attn.qkv.weight", (3 * d, d)
            for linear in ("self_attn.proj", "linear1", "linear2"):
                yield f"{layer}.{linear}.weight", (d, d)
                yield f"{layer}.{linear}.bias", (d,)
            for norm in ("pre_norm", "norm1"):
                yield f"{layer}.{norm}.weight", (d,)
                yield f"{layer}.{norm}.bias", (d,)
        yield f"{transformer}.norm.weight", (d,)
        yield f"{transformer}.norm.bias", (d,)
        yield f"clarm{LEVELS[level]}.to_qkv.0.weight", (3 * d, d)


def _fill(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Fill an entry by the rule of shared/reference/README.md."""
    import torch

    fixed = {"scale": 2.0, "w1": 0.4, "w2": 0.6}
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name in fixed:
        values = np.full(shape, fixed[name])
    elif name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        values = rng.normal(0, 0.1, shape)
    elif len(shape) >= 2:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    elif name.endswith(".weight"):
        values = rng.uniform(0.8, 1.2, shape)
    else:
        values = rng.normal(0, 0.05, shape)
    return torch.from_numpy(values.astype(np.float32))


def _with_derived(entries: Entries) -> Entries:
    """Add the derived entries of the authors' files: position tables and batch counters."""
    import torch

    derived: Entries = {}
    for name in entries:
        if name.endswith("running_var"):
            derived[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
        if name.endswith("transformer.norm.weight"):
            tokens = {"1": 25, "2": 100}[name.split(".")[0][-1]]
            key = name.replace("norm.weight", "positional_emb")
            derived[key] = torch.zeros(1, tokens, entries[name].numel())
    return entries | derived


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: for these small networks two threads on busy cores take 15 times as long."""
    try:
        import torch
    except ModuleNotFoundError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def authors_entries() -> Callable[..., Entries]:
    """authors_entries("conv4", levels, spelling): every entry filled from its own name.

    Both spellings give one network: the names of the later spelling ("mtfem") seed the values of both.
    """

    def make(backbone: str, levels: tuple[str, ...] = ("high", "mid"), *, spelling: str = "mtfem") -> Entries:
        entries = {name: _fill(name, shape) for name, shape in _shapes(backbone, levels)}
        if spelling == "fsrm":
            entries = {n.replace("mtfem", "fsrm").replace("clarm", "hhdcm"): v for n, v in entries.items()}
        return _with_derived(entries)

    return make


@pytest.fixture(scope="session")
def resnet12_filled(
    once: Callable[[str, Callable[[Path], None]], Path], authors_entries: Callable[..., Entries]
) -> Path:
    """`resnet12_filled.pth` of shared/reference/README.md."""
    import torch

    return once("resnet12_filled.pth", lambda path: torch.save(authors_entries("resnet12"), path))
