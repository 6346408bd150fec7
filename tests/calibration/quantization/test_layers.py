from __future__ import annotations

import onnx
from onnx_graphs import load_graph

from hmdrn_calibration.quantization.layers import find_layers, load_photo_graphs
from hmdrn_runtime.bundle.bundle import open_bundle


def test_weights_from_the_checkpoint_are_constants_as_the_exporter_had_them(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    model = load_photo_graphs(bundle)["classify"]
    expected = load_graph(bundle.graph_path("classify"))
    assert [n.name for n in model.graph.node] == [n.name for n in expected.graph.node]
    constants, others = (
        {w.name: onnx.numpy_helper.to_array(w).tobytes() for w in m.graph.initializer}
        for m in (model, expected)
    )
    assert constants == others
    assert "backbone.blocks.0.conv" in find_layers(model.graph).values()
