from __future__ import annotations

from onnx_graphs import load_graph

from hmdrn_export.graphs.work import count_multiply_adds
from hmdrn_runtime.bundle.bundle import open_bundle


def test_multiply_adds_are_those_of_the_layers(exported):
    """Counted by hand: four convolutions, the query branch's transformers and both Gram matrices."""
    bundle = open_bundle(exported("conv4", "ridge"))
    sides = (84, 42, 21, 10)
    convolutions = sum(64 * side**2 * 9 * (3 if side == 84 else 64) for side in sides)
    transformers = sum(3 * (6 * t * 64 * 64 + 2 * t * t * 64) for t in (25, 100))
    grams = sum(t * 64 * 64 for t in (25, 100))
    counted = count_multiply_adds(load_graph(bundle.graph_path("encode")))
    assert counted == convolutions + transformers + grams
    assert bundle.manifest.model["multiply_adds"] == counted
