"""Reading and writing trained weights."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hmdrn_network.authors import is_derived, translate
from hmdrn_network.backbones.base import LevelName
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.errors import CheckpointError
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import check_parent_folder, describe_os_error, expand_path, write_atomically

FORMAT = "hmdrn-checkpoint-1"
# What a training run calls its checkpoint, and the state that it resumes from.
_OF_A_RUN = "model.safetensors"
_STATE_OF_A_RUN = "state.pt"
_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class ModelCard:
    """What a user must know about weights before deploying them.

    Attributes:
        name: Short name of the model; the name of bundles made of it.
        license: SPDX identifier or a sentence; "not stated" where nothing is known.
        training_data: What it was trained on.
        intended_use: What it is meant for, and its known weaknesses.
        metrics: Measured figures by name, e.g. {"butterflies val 5-way 5-shot accuracy": 83.1}.
        recipe: How it was trained: settings, seed, steps.
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
                raise TypeError(f"a model card's {text!r} is no text")
        if not re.fullmatch(r"\w[\w .+-]{0,99}", self.name):
            raise ValueError(
                f"the model's name {self.name!r} is no name for a file: use letters, digits, . + -"
            )
        if not (isinstance(self.metrics, Mapping) and isinstance(self.recipe, Mapping)):
            raise TypeError("a model card's metrics and recipe are mappings")
        if not all(isinstance(value, int | float) for value in self.metrics.values()):
            raise TypeError("a model card's metrics are numbers")


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights with what they say of themselves.

    Attributes:
        network: The network in evaluation mode, on the CPU, float32.
        card: Model card.
        sha256: Digest of the file that it was read from.
    """

    network: HMDRN
    card: ModelCard
    sha256: str


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint: ours (safetensors, configuration inside) or the authors' `.pth` (either spelling).

    Backbone, head and levels of the authors' files are recognised from their entries.

    Args:
        path: The file.

    Raises:
        CheckpointError: A file that is missing or no checkpoint, or whose entries do not make up a network;
            every missing, unexpected or misshapen entry is counted and named.
    """
    path = expand_path(path, CheckpointError)
    _refuse_other_kinds(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read checkpoint {path}: {describe_os_error(error)}; check the path"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    # A zip is torch's format, a pickle older torch's. Ours begins with the length of a JSON header, whose
    # bytes may look like either.
    if data[:2] in (b"PK", b"\x80\x02") and data[8:9] != b"{":
        weights = _authors_weights(path)
        config, card = _recognise(weights, path), ModelCard(name=path.stem)
    else:
        weights, config, card = _own_weights(path)
    return Checkpoint(build_network(config, weights, str(path)), card, digest)


def build_network(config: NetworkConfig, weights: Mapping[str, Tensor], source: str) -> HMDRN:
    """A network in evaluation mode from weights under our names.

    Raises:
        CheckpointError: Missing, unexpected or misshapen entries, or values that are not finite.
    """
    network = HMDRN(config)
    expected = canonical_weights(network)
    unusable = {name for name, w in weights.items() if w.layout != torch.strided or w.dtype not in _FLOATING}
    problems = [
        _listing("missing", sorted(set(expected) - set(weights))),
        _listing("unexpected", sorted(set(weights) - set(expected))),
        _listing("not plain floating-point numbers", sorted(unusable)),
        _listing(
            "misshapen",
            [
                f"{name} {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
                for name in sorted(set(expected) & set(weights))
                if not _same_shape(weights[name], expected[name])
            ],
        ),
        _listing(
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
    """The float32 weights that define a network, by name: no position tables, no batch counters."""
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
        path: The file.
        network: What to write.
        card: Its model card.
        compact: Whether matrices and kernels are rounded to half precision, for a file of half the size;
            norms, statistics and scalars stay float32.

    Raises:
        CheckpointError: The file cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "config": json.dumps(network.config.to_dict()),
        "card": json.dumps(asdict(card)),
    }
    weights = {
        name: (value.half() if compact and value.dim() > 1 else value).contiguous()
        for name, value in canonical_weights(network).items()
    }
    path = expand_path(path, CheckpointError)
    check_parent_folder(path, "checkpoint", CheckpointError)
    try:
        write_atomically(path, save(weights, metadata))
    except OSError as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {describe_os_error(error)}") from error


def _refuse_other_kinds(path: Path) -> None:
    """Say what to give instead of what is known to be something else."""
    kind, run = detect_file_kind(path), path / _OF_A_RUN
    if kind == "a bundle":
        raise CheckpointError(f"{path} is a bundle: give the checkpoint that it was exported from")
    if kind == "a folder":
        raise CheckpointError(
            f"{path} is a folder: give {run if run.is_file() else 'the file of a checkpoint in it'}"
        )
    if kind in ("a gallery", "a photo"):
        raise CheckpointError(f"{path} is {kind}: give the file of a checkpoint, .safetensors or .pth")
    if path.is_file() and path.name == _STATE_OF_A_RUN:
        raise CheckpointError(
            f"{path} is the state of a training run, which only training reads: "
            f"give the run's checkpoint, {path.with_name(_OF_A_RUN)}"
        )


def _own_weights(path: Path) -> tuple[dict[str, Tensor], NetworkConfig, ModelCard]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint: neither a safetensors file nor a torch file ({error})"
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file of format {metadata.get('format')!r}, expected {FORMAT!r}: "
            "make it with hmdrn_network.save_checkpoint"
        )
    try:
        config = NetworkConfig.from_dict(json.loads(metadata["config"]))
        card = ModelCard(**json.loads(metadata["card"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has damaged metadata ({error}); make the checkpoint again") from error
    return weights, config, card


def _authors_weights(path: Path) -> dict[str, Tensor]:
    try:
        # weights_only: a pickle may run code, this reader may not.
        entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(
            f"{path} cannot be read as a torch file of plain weights ({type(error).__name__}): it is "
            "damaged, or holds more than weights; save network.state_dict() alone"
        ) from error
    if not isinstance(entries, dict) or not all(isinstance(v, Tensor) for v in entries.values()):
        raise CheckpointError(f"{path} holds no plain state dict: save network.state_dict() alone")
    # DataParallel puts a prefix before every name.
    entries = {str(key).removeprefix("module."): value for key, value in entries.items()}
    named = {key: translate(key) for key in entries if not is_derived(key)}
    if all(name is None for name in named.values()):
        raise CheckpointError(
            f"{path} is no HMDRN checkpoint in the authors' spelling: {_listing('unexpected', sorted(named))}"
        )
    spelled = Counter(name for name in named.values() if name is not None)
    if twice := sorted(key for key, name in named.items() if name is not None and spelled[name] > 1):
        raise CheckpointError(f"{path} gives entries in both of the authors' spellings: {', '.join(twice)}")
    # What is unknown keeps its name, to be told with everything else that is wrong.
    return {name or key: entries[key] for key, name in named.items()}


def _recognise(weights: Mapping[str, Tensor], path: Path) -> NetworkConfig:
    """Backbone and levels from the entries alone; the authors' files have the attention head."""
    residual = any(re.match(r"backbone\.blocks\.\d\.(conv[123]|shortcut_conv)\.", name) for name in weights)
    backbone = "resnet12" if residual else "conv4"
    levels: tuple[LevelName, ...] = tuple(
        level
        for level in ("high", "mid")
        if any(name.startswith(f"transformers.{level}.") for name in weights)
    )
    if not levels:
        raise CheckpointError(
            f"{path} has no transformer of either level (fsrm1/2 or mtfem1/2): it is no HMDRN"
        )
    return NetworkConfig(backbone, "attention", levels)


def _same_shape(found: Tensor, expected: Tensor) -> bool:
    """A scalar may come as an array of one entry, as the authors write it."""
    return found.shape == expected.shape or (expected.dim() == 0 and found.shape == (1,))


def _listing(kind: str, names: list[str]) -> str:
    """Problems of one kind, counted and named; empty if there are none."""
    return f"{len(names)} {kind} ({', '.join(names)})" if names else ""
