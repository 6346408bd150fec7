"""Command lines of trtexec and Triton's configuration, against the tensors of the package's model."""

from __future__ import annotations

import re

import pytest
from fences import ROOT, iterate_blocks

from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import open_bundle

BLOCKS = [block.text for block in iterate_blocks(ROOT / "docs" / "export.md")]
TRTEXEC = [line for text in BLOCKS for line in text.splitlines() if line.startswith("trtexec ")]
(TRITON,) = (text for text in BLOCKS if "max_batch_size" in text)
TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
DOCUMENTED = {
    "onnx",
    "saveEngine",
    "noTF32",
    "memPoolSize",
    "skipInference",
    "minShapes",
    "optShapes",
    "maxShapes",
}
"""Options that NVIDIA's documentation of trtexec lists."""


@pytest.fixture(scope="module")
def graphs():
    return open_bundle(resolve_bundle("default")).manifest.variants["fp32"]


@pytest.mark.parametrize("line", TRTEXEC)
def test_trtexec_gets_every_input_of_a_graph_in_growing_shapes(line, graphs):
    options = dict(re.findall(r"--(\w+)=?(\S*)", line))
    assert set(options) == DOCUMENTED
    name = options["onnx"].rsplit("/", 1)[1].removesuffix(".onnx")
    bounds = []
    for option in ("minShapes", "optShapes", "maxShapes"):
        shapes = dict(entry.split(":") for entry in options[option].split(","))
        assert list(shapes) == [tensor.name for tensor in graphs[name].inputs]
        for tensor in graphs[name].inputs:
            sizes = [int(size) for size in shapes[tensor.name].split("x")]
            for size, expected in zip(sizes, tensor.shape, strict=True):
                assert isinstance(expected, str) or size == expected
        bounds.append([int(size) for shape in shapes.values() for size in shape.split("x")])
    assert all(a <= b <= c for a, b, c in zip(*bounds, strict=True))


def test_triton_gets_every_tensor_with_its_type_and_dimensions(graphs):
    graph = graphs["classify"]
    listed = {}
    for kind, entries in re.findall(r"^(input|output) \[(.*?)^\]", TRITON, re.DOTALL | re.MULTILINE):
        tensors = re.findall(r'name: "(\w+)" data_type: (\w+) dims: \[ (.+?) \]', entries)
        listed[kind] = [
            (name, dtype, [int(size) for size in dims.split(",")]) for name, dtype, dims in tensors
        ]
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        assert listed[kind] == [
            (t.name, TYPES[t.dtype], [-1 if isinstance(size, str) else size for size in t.shape])
            for t in tensors
        ]
