"""Reading and writing trained weights."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hmdrn_network.authors import detect_config, read_authors_weights
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.bundle.bundle import CHECKPOINT
from hmdrn_runtime.errors import CheckpointError
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import check_parent_folder, describe_os_error, expand_path, write_atomically
from hmdrn_runtime.io.safetensors_header import LENGTH_BYTES, read_header_size

FORMAT = "hmdrn-checkpoint-1"
# Files of a training run: its checkpoint, and the state from which it continues.
RUN_CHECKPOINT = "model.safetensors"
RUN_STATE = "state.pt"
_ALIGNMENT = 8  # of the arrays in a file
_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class ModelCard:
    """Facts about weights that a user needs before deploying them.

    Attributes:
        name: Short name of the model and of its bundles: letters, digits, space . + -, at most 100.
        license: SPDX identifier or a sentence; "not stated" if unknown.
        training_data: Data that the weights were trained on.
        intended_use: Purpose and known weaknesses.
        metrics: Measured figures by name, e.g. {"butterflies val 5-way 5-shot accuracy": 83.1}.
        recipe: Settings, seed and steps of the training.

    Raises:
        CheckpointError: A text is not a string, the name is not usable for a file, or metrics or recipe are
            not mappings of numbers and values.

    Examples:
        >>> hmdrn.ModelCard("garden birds", training_data="my own photos").name
        'garden birds'
    """

    name: str
    license: str = "not stated"
    training_data: str = "not stated"
    intended_use: str = "not stated"
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (self.name, self.license, self.training_data, self.intended_use):
            if not isinstance(text, str):
                raise CheckpointError(f"a model card has {text!r} instead of a text")
        if not re.fullmatch(r"\w[\w .+-]{0,99}", self.name):
            raise CheckpointError(f"the name {self.name!r} cannot name a file: use letters, digits, . + -")
        if not (isinstance(self.metrics, Mapping) and isinstance(self.recipe, Mapping)):
            raise CheckpointError("a model card's metrics and recipe are mappings")
        if not all(isinstance(value, int | float) for value in self.metrics.values()):
            raise CheckpointError("a model card's metrics are numbers")


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights with their model card.

    Attributes:
        network: The network in evaluation mode, on the CPU, float32.
        card: Model card.
        sha256: SHA-256 of the file.

    Examples:
        >>> checkpoint = hmdrn.load_checkpoint("birds.safetensors")
        >>> checkpoint.network.config.head
        'ridge'
    """

    network: HMDRN
    card: ModelCard
    sha256: str


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint: safetensors with its configuration, a bundle, or `.pth` of the authors of HMDRN.

    Backbone, head and levels of the authors' files are recognized from their entries.

    Args:
        path: Path of the file, or of a bundle, which holds the checkpoint that it was exported from.

    Raises:
        CheckpointError: The file is missing or not a checkpoint, or its entries do not make up a network;
            every missing, unexpected or misshapen entry is counted and named.
    """
    path = expand_path(path, CheckpointError)
    if (path / CHECKPOINT).is_file():
        path /= CHECKPOINT
    _reject_other_files(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read checkpoint {path}: {describe_os_error(error)}; check the path"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    # torch writes a zip, older versions a pickle. A safetensors file begins with the length of its JSON
    # header, whose bytes may look like either.
    if data[:2] in (b"PK", b"\x80\x02") and data[8:9] != b"{":
        weights = read_authors_weights(path)
        config, card = detect_config(weights, path), ModelCard(name=path.stem)
    else:
        weights, config, card = _read_safetensors(path)
    return Checkpoint(build_network(config, weights, str(path)), card, digest)


def build_network(config: NetworkConfig, weights: Mapping[str, Tensor], source: str) -> HMDRN:
    """Build a network in evaluation mode from weights under this package's names.

    Raises:
        CheckpointError: Missing, unexpected or misshapen entries, or values that are not finite numbers.
    """
    network = HMDRN(config)
    expected = canonical_weights(network)
    unusable = {name for name, w in weights.items() if w.layout != torch.strided or w.dtype not in _FLOATING}
    problems = [
        _list_names("missing", sorted(set(expected) - set(weights))),
        _list_names("unexpected", sorted(set(weights) - set(expected))),
        _list_names("not plain floating-point numbers", sorted(unusable)),
        _list_names(
            "misshapen",
            [
                f"{name} {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
                for name in sorted(set(expected) & set(weights))
                if not _same_shape(weights[name], expected[name])
            ],
        ),
        _list_names(
            "not finite",
            sorted(n for n, w in weights.items() if n not in unusable and not bool(w.isfinite().all())),
        ),
    ]
    if any(problems):
        raise CheckpointError(
            f"{source} does not make up a {config.backbone} network with {config.head} head and levels "
            f"{'+'.join(config.levels)}: " + "; ".join(filter(None, problems))
        )
    network.load_state_dict(
        {n: w.float().reshape(expected[n].shape) for n, w in weights.items()}, strict=False
    )
    return network.eval()


def canonical_weights(network: HMDRN) -> dict[str, Tensor]:
    """Return the float32 weights that define a network, without position tables and batch counters."""
    return {
        name: value.detach().float().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def save_checkpoint(
    path: str | os.PathLike[str], network: HMDRN, card: ModelCard, compact: bool = False
) -> None:
    """Write weights, configuration and model card as one safetensors file, atomically.

    Args:
        path: Path of the file.
        network: The network.
        card: Its model card.
        compact: True to round matrices and kernels to half precision, for a file of half the size; norms,
            statistics and scalars stay float32.

    Raises:
        CheckpointError: The file cannot be written.
    """
    path = expand_path(path, CheckpointError)
    check_parent_folder(path, "checkpoint", CheckpointError)
    try:
        write_atomically(path, serialize_checkpoint(network, card, compact))
    except OSError as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {describe_os_error(error)}") from error


def serialize_checkpoint(network: HMDRN, card: ModelCard, compact: bool = False) -> bytes:
    """Return the content of a checkpoint's file; arguments as for `save_checkpoint`.

    Matrices and kernels whose numbers half precision holds exactly are stored in it; rounded once, they stay
    so.
    """
    metadata = {
        "format": FORMAT,
        "config": json.dumps(network.config.to_dict()),
        "card": json.dumps(asdict(card)),
    }
    weights = {name: _store(value, compact) for name, value in canonical_weights(network).items()}
    data = save(weights, metadata)
    # safetensors writes metadata in a new order each time; equal checkpoints are equal files.
    start = LENGTH_BYTES + read_header_size(data)
    header = json.dumps(json.loads(data[LENGTH_BYTES:start]) | {"__metadata__": metadata}).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + data[start:]


def _store(value: Tensor, compact: bool) -> Tensor:
    half = value.half()
    halved = value.dim() > 1 and (compact or torch.equal(half.float(), value))
    return (half if halved else value).contiguous()


def _reject_other_files(path: Path) -> None:
    kind, run = detect_file_kind(path), path / RUN_CHECKPOINT
    if kind == "a bundle":
        raise CheckpointError(
            f"{path} is a bundle without {CHECKPOINT}: give a checkpoint, or export it again"
        )
    if kind == "a folder":
        raise CheckpointError(
            f"{path} is a folder: give {run if run.is_file() else 'the file of a checkpoint in it'}"
        )
    if kind in ("a gallery", "a photo"):
        raise CheckpointError(f"{path} is {kind}: give the file of a checkpoint, .safetensors or .pth")
    if path.is_file() and path.name == RUN_STATE:
        raise CheckpointError(
            f"{path} is the state of a training run, which only training reads: "
            f"give the run's checkpoint, {path.with_name(RUN_CHECKPOINT)}"
        )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], NetworkConfig, ModelCard]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint: neither a safetensors file nor a torch file ({error})"
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file of format {metadata.get('format')!r}, expected {FORMAT!r}: "
            "write it with hmdrn.save_checkpoint"
        )
    try:
        config = NetworkConfig.from_dict(json.loads(metadata["config"]))
        card = ModelCard(**json.loads(metadata["card"]))
    except (CheckpointError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has damaged metadata ({error}): write the checkpoint again") from error
    return weights, config, card


def _same_shape(weight: Tensor, expected: Tensor) -> bool:
    # The authors write scalars as arrays of one entry.
    return weight.shape == expected.shape or (expected.dim() == 0 and weight.shape == (1,))


def _list_names(kind: str, names: list[str]) -> str:
    return f"{len(names)} {kind} ({', '.join(names)})" if names else ""
