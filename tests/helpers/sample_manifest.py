"""A manifest with made-up values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from hmdrn_runtime.bundle.manifest import Fusion, Graph, Input, Level, Manifest, Network, Tensor

NETWORK = Network(
    fingerprint="ab" * 32,
    backbone="conv4",
    head="ridge",
    levels=(Level("high", 4, 3), Level("mid", 2, 12)),
    fusion=Fusion({"high": 1.0625, "mid": 0.25}, 9.5, 12.0),
    statistics="gram",
)
GRAPH = Graph(
    file="graphs/fp32/solve.onnx",
    precision="fp32",
    dialect="onnx",
    opset=18,
    backends=("onnxruntime", "tensorrt"),
    inputs=(Tensor("gram", "float32", ("classes", 13)), Tensor("shots", "float32", ("classes",))),
    outputs=(Tensor("operator", "float32", ("classes", 13)),),
)
MANIFEST = Manifest(
    name="käfer",
    network=NETWORK,
    input=Input(84, 92, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    variants={"fp32": {"solve": GRAPH}, "fp16": {"solve": replace(GRAPH, file="graphs/fp16/solve.onnx")}},
    files={"graphs/fp32/solve.onnx": "01" * 32, "graphs/fp16/solve.onnx": "02" * 32},
    model={"license": "CC0-1.0", "metrics": {"accuracy": 83.1}},
    provenance={"hmdrn_version": "0.1.0"},
    verification={"fp32": {"failures": []}},
)


def with_checksum(values: dict[str, Any]) -> str:
    """Return a manifest's text with its checksum, computed independently."""
    body = {key: value for key, value in values.items() if key != "sha256"}

    def text(content: dict[str, Any]) -> str:
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    return text({**body, "sha256": hashlib.sha256(text(body).encode()).hexdigest()})
