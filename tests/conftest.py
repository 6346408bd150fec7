"""Shared fixtures: bundles exported once a session, photographs and reference outputs where they are."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a file that lies outside the project; the test is skipped, by name, where it is missing.

    They are looked for in $HMDRN_SHARED, else in `shared` beside the project.
    """
    folder = Path(os.environ.get("HMDRN_SHARED", ROOT.parent / "shared"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"needs {name} in $HMDRN_SHARED or {folder}")
        return path

    return find


@pytest.fixture(scope="session")
def seeded_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Checkpoint of an untrained network with fixed weights, by backbone and head.

    Every weight that starts at a constant is moved off it: two tensors that are equal by chance would
    hide a mix-up of the two.
    """
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(backbone: str, head: str) -> Path:
        import torch

        from hmdrn_network import HMDRN, ModelCard, NetworkConfig, save_checkpoint

        path = folder / f"{backbone}_{head}.safetensors"
        if not path.exists():
            torch.manual_seed(7)
            network = HMDRN(NetworkConfig(backbone, head))  # type: ignore[arg-type]
            with torch.no_grad():
                for name, value in network.state_dict().items():
                    if value.is_floating_point() and not name.endswith("positions"):
                        noise = torch.empty_like(value).uniform_(0.9, 1.1)
                        value.copy_(value * noise + (0.05 * (noise - 1) if value.dim() else 0))
            save_checkpoint(path, network, ModelCard(f"{backbone}-{head}-seeded"))
        return path

    return make


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, seeded_checkpoint: Callable[[str, str], Path]
) -> Callable[..., Path]:
    """Bundle of a checkpoint, exported once a session: exported("conv4", "attention") or exported(path)."""
    folder = tmp_path_factory.mktemp("bundles")

    def make(*source: str | Path, preprocessing: str = "crop") -> Path:
        from hmdrn_export import export_bundle
        from hmdrn_network import load_checkpoint

        checkpoint = Path(source[0]) if len(source) == 1 else seeded_checkpoint(*map(str, source))
        path = folder / f"{checkpoint.stem}_{preprocessing}.hmdrn"
        if not path.exists():
            export_bundle(load_checkpoint(checkpoint), path, preprocessing=preprocessing)
        return path

    return make


@pytest.fixture(scope="session")
def filled_resnet12(shared: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ResNet-12 of the reference outputs in the authors' spelling, filled from the names of its entries.

    No ResNet-12 weights were released: shared/reference/README.md says how every entry is filled.
    """
    shared("reference/resnet12_filled_5way_1shot.npz")
    import torch

    path = tmp_path_factory.mktemp("filled") / "resnet12_filled.pth"
    torch.save({n: torch.from_numpy(_filled(n, s)) for n, s in _resnet12_shapes().items()}, path)
    return path


def _resnet12_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the authors' ResNet-12 entries, from the paper's description alone."""
    shapes: dict[str, tuple[int, ...]] = {"scale": (1,), "w1": (1,), "w2": (1,)}

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (width,)

    before = 3
    for i, width in enumerate((64, 160, 320, 640), start=1):
        block = f"feature_extractor.layer{i}.0"
        for j, source in ((1, before), (2, width), (3, width)):
            shapes[f"{block}.conv{j}.weight"] = (width, source, 3, 3)
            norm(f"{block}.bn{j}", width)
        shapes[f"{block}.downsample.0.weight"] = (width, before, 1, 1)
        norm(f"{block}.downsample.1", width)
        before = width
    for level, d in ((1, 640), (2, 320)):
        prefix = f"mtfem{level}.transformer"
        for layer in range(3):
            block = f"{prefix}.blocks.{layer}"
            shapes[f"{block}.self_attn.qkv.weight"] = (3 * d, d)
            for name in ("self_attn.proj", "linear1", "linear2"):
                shapes[f"{block}.{name}.weight"], shapes[f"{block}.{name}.bias"] = (d, d), (d,)
            for name in ("pre_norm", "norm1"):
                shapes[f"{block}.{name}.weight"] = shapes[f"{block}.{name}.bias"] = (d,)
        shapes[f"{prefix}.norm.weight"] = shapes[f"{prefix}.norm.bias"] = (d,)
        shapes[f"clarm{level}.to_qkv.0.weight"] = (3 * d, d)
    return shapes


def _filled(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    fixed = {"scale": 2.0, "w1": 0.4, "w2": 0.6}
    if name in fixed:
        return np.full(shape, fixed[name], np.float32)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        values = rng.normal(0, 0.1, shape)
    elif len(shape) >= 2:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    elif name.endswith(".weight"):
        values = rng.uniform(0.8, 1.2, shape)
    else:
        values = rng.normal(0, 0.05, shape)
    return values.astype(np.float32)
