"""Facts about models, read from bundles and checkpoints without opening a backend."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmdrn.loading import DEFAULT, resolve_bundle
from hmdrn_runtime.backends.stored_profile import load_profile
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.bundle.variants import choose_variant
from hmdrn_runtime.errors import CheckpointError, HmdrnError
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import describe_os_error, expand_path

_CHECKOUT = Path(__file__).parents[2]
_METRIC = re.compile(r"(?:val )?(\S+)(?: val)? (\d+)-way (\d+)-shot(?: (accuracy|ci95))?")


@dataclass(frozen=True)
class ModelAccuracy:
    """Episodic accuracy of a model on one data set, from its card.

    Attributes:
        data: Name of the data set.
        way: Classes of an episode.
        shot: Support photos of a class.
        accuracy: Mean in percent.
        ci95: Half-width of its 95 % interval; None if the card does not say.

    Examples:
        >>> hmdrn.ModelAccuracy("butterflies", way=5, shot=1, accuracy=81.5, ci95=0.6).data
        'butterflies'
    """

    data: str
    way: int
    shot: int
    accuracy: float
    ci95: float | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Facts about one model.

    Attributes:
        name: Its name; "default" opens the one that comes with the package.
        path: The bundle or checkpoint.
        kind: "bundle", which devices open, or "checkpoint", which `hmdrn-export` turns into one.
        bytes: Size on disk.
        backbone: Name of the backbone.
        head: "ridge" or "attention".
        side: Side of its input in pixels; None if the checkpoint does not say.
        variants: Variants of a bundle's graphs; empty for a checkpoint.
        multiply_adds: For one photo, from its pixels to what is matched; None for a checkpoint.
        accuracy: From its card.
        training_data: Data that it was trained on.
        license: License of its weights.
        milliseconds: Median from frame to prediction on this device, of a profile that was given, else of the
            stored one for the CPU (`hmdrn profile --save`); None without a profile.

    Examples:
        >>> default = hmdrn.list_models()[0]
        >>> default.name, default.kind
        ('default', 'bundle')
    """

    name: str
    path: Path
    kind: str
    bytes: int
    backbone: str
    head: str
    side: int | None
    variants: tuple[str, ...]
    multiply_adds: int | None
    accuracy: tuple[ModelAccuracy, ...]
    training_data: str
    license: str
    milliseconds: float | None = None


def list_models(
    paths: Sequence[str | os.PathLike[str]] = (), profiles: Sequence[str | os.PathLike[str]] = ()
) -> tuple[ModelInfo, ...]:
    """List models with what is known about them.

    Args:
        paths: Bundles and checkpoints; if there are none, the package's own bundle and, in a checkout, the
            checkpoints in its folder `weights`.
        profiles: Files of `hmdrn profile BUNDLE --json`, measured on this device.

    Raises:
        HmdrnError: A path is neither a bundle nor a checkpoint of this package, or a profile cannot be read.

    Examples:
        >>> [model.side for model in hmdrn.list_models(["default"])]
        [128]
    """
    weights = sorted((_CHECKOUT / "weights").glob("*.safetensors"))
    measured = dict(_read_profile(Path(profile)) for profile in profiles)
    models = (_describe(path) for path in paths or (DEFAULT, *weights))
    return tuple(
        replace(model, milliseconds=measured.get(model.path, model.milliseconds)) for model in models
    )


def _describe(given: str | os.PathLike[str]) -> ModelInfo:
    path = resolve_bundle(given)
    if path.is_dir():
        return _describe_bundle(path, DEFAULT if given == DEFAULT else None)
    if detect_file_kind(path) == "a checkpoint":
        return _describe_checkpoint(path)
    raise HmdrnError(f"{path} is neither a bundle nor a checkpoint of this package: check the path")


def _describe_bundle(path: Path, name: str | None) -> ModelInfo:
    bundle = open_bundle(path)
    manifest, times = bundle.manifest, load_profile(bundle, "onnxruntime").milliseconds
    return ModelInfo(
        name=name or manifest.name,
        path=path,
        kind="bundle",
        bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        backbone=manifest.network.backbone,
        head=manifest.network.head,
        side=manifest.input.size,
        variants=tuple(manifest.variants),
        multiply_adds=manifest.model.get("multiply_adds"),
        accuracy=_read_accuracy(manifest.model.get("metrics", {})),
        training_data=manifest.model.get("training_data", ""),
        license=manifest.model.get("license", ""),
        milliseconds=times.get(choose_variant(manifest, "onnxruntime", times)),
    )


def _describe_checkpoint(path: Path) -> ModelInfo:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata()
        config, card = json.loads(metadata["config"]), json.loads(metadata["card"])
        return ModelInfo(
            name=card["name"],
            path=path,
            kind="checkpoint",
            bytes=path.stat().st_size,
            backbone=config["backbone"],
            head=config["head"],
            side=config.get("side"),
            variants=(),
            multiply_adds=None,
            accuracy=_read_accuracy(card.get("metrics", {})),
            training_data=card.get("training_data", ""),
            license=card.get("license", ""),
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is a damaged checkpoint ({error}): copy it again") from error


def _read_accuracy(metrics: Mapping[str, Any]) -> tuple[ModelAccuracy, ...]:
    """Read a card's figures, such as "val butterflies 5-way 1-shot accuracy" and the same with "ci95"."""
    values: dict[tuple[str, int, int], dict[str, float]] = {}
    for name, value in metrics.items():
        if match := _METRIC.fullmatch(name):
            data, way, shot, what = match.groups()
            values.setdefault((data, int(way), int(shot)), {})[what or "accuracy"] = value
    return tuple(
        ModelAccuracy(*setting, value["accuracy"], value.get("ci95"))
        for setting, value in values.items()
        if "accuracy" in value
    )


def _read_profile(path: Path) -> tuple[Path, float]:
    path = expand_path(path, HmdrnError)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        stages = values["stages"]
        source = stages.get("frame") or next(iter(stages.values()))
        return resolve_bundle(values["bundle"]), float(source["total"]["p50"])
    except OSError as error:
        raise HmdrnError(f"cannot read profile {path}: {describe_os_error(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise HmdrnError(f"{path} is not a profile: make one with hmdrn profile BUNDLE --json") from error
