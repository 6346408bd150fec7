"""What a bundle says of itself: `manifest.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hmdrn_runtime.errors import BundleError
from hmdrn_runtime.images.preprocessing import INPUT_SIZE, PREPROCESSINGS, RESIZE
from hmdrn_runtime.io.json_document import JsonObject, canonical_json

FORMAT_VERSION = 1
HEADS = ("ridge", "attention")


@dataclass(frozen=True)
class Level:
    """A scale of the network: its name, d (channels) and the locations of its map (tokens of a photo)."""

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
    """What a gallery depends on.

    Attributes:
        fingerprint: SHA-256 of the canonical FP32 weights, the configuration and the preprocessing.
        backbone: "conv4" or "resnet12".
        head: "ridge" or "attention".
        levels: The levels in the order of every packed array, high before mid.
        fusion: How distances become logits, for matching outside the graphs.
        statistics: What a gallery keeps of a photo: "gram", "tokens" (ridge) or "keys_values" (attention).
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
    """How a photo becomes the graphs' input, uint8 RGB (N, size, size, 3); mean and std are in the graphs."""

    size: int
    resize: int
    preprocessing: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph; a free size has a name in place of a number."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """One ONNX file.

    Attributes:
        file: Path inside the bundle.
        precision: "fp32", "fp16" or "int8".
        dialect: Whose operators and Q/DQ placement: "onnx" for plain graphs.
        opset: Version of the ONNX operators.
        backends: The backends that it is for.
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
    """Everything that a bundle says of itself.

    Attributes:
        name: The model's name.
        network: What a gallery depends on.
        input: Input and preprocessing.
        variants: Graphs by name, by variant ("fp32", ...).
        files: SHA-256 of every other file of the bundle, by path.
        model: Licence, training data, intended use, metrics and recipe of the weights.
        provenance: What made the bundle, and of which checkpoint.
        verification: Reports of the export's check against the network, by variant.
        precision_rules: For variants of mixed precision, which nodes compute in what, and why.
        calibration: How the INT8 variants were found, and what they cost in accuracy.
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
        """The manifest's text, sealed with its own SHA-256."""
        values = {"format_version": FORMAT_VERSION, **asdict(self)}
        return canonical_json({**values, "sha256": _seal(values)})

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Read and check a manifest.

        Args:
            text: The file's content.
            where: What to call it in messages.

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
        seal = document.get("sha256", str)
        values = {key: value for key, value in document.values.items() if key != "sha256"}
        if seal != _seal(values) or text != canonical_json(document.values):
            raise BundleError(f"{where} was changed after it was written: export the bundle again")
        return cls(
            name=document.get("name", str),
            network=read_network(document.child("network")),
            input=_input(document.child("input")),
            variants={
                variant: {name: _graph(graph) for name, graph in graphs.children().items()}
                for variant, graphs in document.child("variants").children().items()
            },
            files={path: document.child("files").get(path, str) for path in document.get("files", dict)},
            model=document.get("model", dict),
            provenance=document.get("provenance", dict),
            verification=document.get("verification", dict),
            precision_rules=_later(document, "precision_rules"),
            calibration=_later(document, "calibration"),
        )


def _later(document: JsonObject, key: str) -> dict[str, Any]:
    """An entry that older bundles of this format version do not have."""
    return document.get(key, dict) if key in document.values else {}


def _seal(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def read_network(document: JsonObject) -> Network:
    """Read what a gallery depends on.

    Raises:
        HmdrnError: Of the document's type; the entry at fault is named.
    """
    levels = tuple(
        Level(level.get("name", str), level.get("channels", int), level.get("tokens", int))
        for level in document.items("levels")
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


def _input(document: JsonObject) -> Input:
    preprocessing = document.get("preprocessing", str)
    if (document.get("size", int), document.get("resize", int)) != (INPUT_SIZE, RESIZE):
        raise BundleError(
            f"{document.where} asks for an input size that this SDK does not know: update hmdrn"
        )
    if preprocessing not in PREPROCESSINGS:
        raise BundleError(
            f"{document.where} asks for preprocessing {preprocessing!r}, which this SDK does not know"
        )
    return Input(
        document.get("size", int),
        document.get("resize", int),
        preprocessing,
        document.sequence("mean", float),
        document.sequence("std", float),
    )


def _graph(document: JsonObject) -> Graph:
    def tensors(key: str) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(t.get("name", str), t.get("dtype", str), t.sequence("shape", int, str))
            for t in document.items(key)
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
