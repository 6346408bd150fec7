"""The manifest of a bundle, `manifest.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hmdrn_runtime.errors import BundleError
from hmdrn_runtime.images.preprocessing import PREPROCESSING_MODES, Preprocessing
from hmdrn_runtime.io.json_document import JsonObject, canonical_json

FORMAT_VERSION = 1
HEADS = ("ridge", "attention")
MIN_SIDE, MAX_SIDE = 16, 1024
"""Smallest and largest side of a network's input in pixels."""


@dataclass(frozen=True)
class Level:
    """A scale of the network: its name, d (channels) and the locations of its map (tokens per photo)."""

    name: str
    channels: int
    tokens: int

    @property
    def packed(self) -> int:
        """Entries of a packed d x d triangle, d (d + 1) / 2."""
        return self.channels * (self.channels + 1) // 2


@dataclass(frozen=True)
class Fusion:
    """Learned constants: logit = -sum(weight[level] * D[level]) * scale / divisor."""

    weights: Mapping[str, float]
    scale: float
    divisor: float


@dataclass(frozen=True)
class Network:
    """The network, as far as galleries depend on it.

    Attributes:
        fingerprint: SHA-256 of the canonical FP32 weights, the configuration and the preprocessing.
        backbone: Name of the backbone, such as "conv4" or "efficientnet-lite0".
        head: "ridge" or "attention".
        levels: The levels in the order of every packed array, high before mid.
        fusion: The constants that turn distances into logits, for matching outside the graphs.
        statistics: A gallery's data of a photo: "gram", "tokens" (ridge) or "keys_values" (attention).
    """

    fingerprint: str
    backbone: str
    head: str
    levels: tuple[Level, ...]
    fusion: Fusion
    statistics: str

    @property
    def packed(self) -> int:
        """P, entries of a photo's packed Gram matrices or of an operator."""
        return sum(level.packed for level in self.levels)


@dataclass(frozen=True)
class Input:
    """The graphs' input, uint8 RGB (N, size, size, 3); mean and std are applied in the graphs.

    `preprocessing` is the mode, "crop" or "squash"; `resize` is derived from the size.
    """

    size: int
    resize: int
    preprocessing: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_preprocessing(self) -> Preprocessing:
        """Return the way from an image to this input."""
        return Preprocessing(self.preprocessing, self.size)


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph; a free size is a name instead of a number."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """One ONNX file.

    Attributes:
        file: Path inside the bundle.
        precision: "fp32", "fp16" or "int8".
        dialect: The operators and Q/DQ placement: "onnx" for plain graphs.
        opset: Version of the ONNX operators.
        backends: The backends that can run it.
        inputs: Its inputs.
        outputs: Its outputs.
    """

    file: str
    precision: str
    dialect: str
    opset: int
    backends: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Manifest:
    """The content of a manifest.

    Attributes:
        name: The model's name.
        network: The network, as far as galleries depend on it.
        input: Input and preprocessing.
        variants: Graphs by name, by variant ("fp32", ...).
        files: SHA-256 of every other file of the bundle, by path.
        model: License, training data, intended use, metrics and recipe of the weights.
        provenance: The software and the checkpoint that made the bundle.
        verification: Reports of the export's check against the network, by variant.
        precision_rules: For variants of mixed precision, the precision of each node, and the reason.
        calibration: The search for the INT8 variants, and their cost in accuracy.
    """

    name: str
    network: Network
    input: Input
    variants: Mapping[str, Mapping[str, Graph]]
    files: Mapping[str, str]
    model: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    verification: Mapping[str, Any] = field(default_factory=dict)
    precision_rules: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the manifest's text, with its own SHA-256."""
        values = {"format_version": FORMAT_VERSION, **asdict(self)}
        return canonical_json({**values, "sha256": _checksum(values)})

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Read and check a manifest.

        Args:
            text: The file's content.
            where: The file's name in messages.

        Raises:
            BundleError: Another format version, damage, or a change made after it was written.
        """
        document = JsonObject.parse(text, where, BundleError)
        version = document.get("format_version", int)
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{where} has format version {version}, this SDK reads {FORMAT_VERSION}: "
                + ("update hmdrn" if version > FORMAT_VERSION else "export the bundle again")
            )
        checksum = document.get("sha256", str)
        values = {key: value for key, value in document.values.items() if key != "sha256"}
        if checksum != _checksum(values) or text != canonical_json(document.values):
            raise BundleError(f"{where} was changed after it was written: export the bundle again")
        return cls(
            name=document.get("name", str),
            network=read_network(document.child("network")),
            input=_read_input(document.child("input")),
            variants={
                variant: {name: _read_graph(graph) for name, graph in graphs.children().items()}
                for variant, graphs in document.child("variants").children().items()
            },
            files={path: document.child("files").get(path, str) for path in document.get("files", dict)},
            model=document.get("model", dict),
            provenance=document.get("provenance", dict),
            verification=document.get("verification", dict),
            precision_rules=document.get("precision_rules", dict),
            calibration=document.get("calibration", dict),
        )


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def read_network(document: JsonObject) -> Network:
    """Read the description of a network.

    Raises:
        HmdrnError: Of the document's type, naming the bad entry.
    """
    levels = tuple(
        Level(level.get("name", str), level.get("channels", int), level.get("tokens", int))
        for level in document.objects("levels")
    )
    head = document.get("head", str)
    if head not in HEADS or not levels:
        raise document.error(f"{document.where} is damaged: head {head!r} with {len(levels)} levels")
    fusion = document.child("fusion")
    weights = fusion.child("weights")
    return Network(
        fingerprint=document.get("fingerprint", str),
        backbone=document.get("backbone", str),
        head=head,
        levels=levels,
        fusion=Fusion(
            {level.name: weights.get(level.name, float) for level in levels},
            fusion.get("scale", float),
            fusion.get("divisor", float),
        ),
        statistics=document.get("statistics", str),
    )


def _read_input(document: JsonObject) -> Input:
    size, resize = document.get("size", int), document.get("resize", int)
    preprocessing = document.get("preprocessing", str)
    if preprocessing not in PREPROCESSING_MODES:
        raise BundleError(
            f"{document.where} has preprocessing {preprocessing!r}, which this SDK does not know"
        )
    if not MIN_SIDE <= size <= MAX_SIDE or resize != Preprocessing(preprocessing, size).resize:
        raise BundleError(f"{document.where} has an input size that this SDK does not know: update hmdrn")
    mean, std = (document.sequence(key, float) for key in ("mean", "std"))
    return Input(size, resize, preprocessing, mean, std)


def _read_graph(document: JsonObject) -> Graph:
    def tensors(key: str) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(t.get("name", str), t.get("dtype", str), t.sequence("shape", int, str))
            for t in document.objects(key)
        )

    return Graph(
        file=document.get("file", str),
        precision=document.get("precision", str),
        dialect=document.get("dialect", str),
        opset=document.get("opset", int),
        backends=document.sequence("backends", str),
        inputs=tensors("inputs"),
        outputs=tensors("outputs"),
    )
