from __future__ import annotations

import pytest

from hmdrn_calibration.quantization.layers import all_layers, layers_of, photo_graphs
from hmdrn_calibration.quantization.qdq_placement import DIALECTS, ORT, TRT, observed, plan


@pytest.fixture(scope="module", params=["ridge", "attention"])
def graphs(request, exported):
    from hmdrn_runtime.bundle.bundle import open_bundle

    return photo_graphs(open_bundle(exported("conv4", request.param)))


def readers(graph, dialect, kept=()):
    return {name: set(edge.readers) for name, edge in plan(graph, dialect, kept).edges.items()}


def test_every_convolution_and_linear_layer_is_a_layer(graphs):
    layers = all_layers(graphs)
    assert [layer for layer in layers if layer.startswith("backbone")] == [
        f"backbone.blocks.{i}.conv" for i in range(4)
    ]
    linear = [layer for layer in layers if layer.startswith("transformers")]
    assert len(linear) == 2 * 3 * 4, "qkv, out, mlp_in and mlp_out of three layers at two levels"
    heads = [layer for layer in layers if layer.startswith("heads")]
    assert heads == (["heads.high.qkv", "heads.mid.qkv"] if heads else [])
    assert len(layers) == 4 + len(linear) + len(heads)


def test_bundles_that_transpose_their_weights_have_the_same_layers(default, exported):
    from hmdrn_runtime.bundle.bundle import open_bundle

    new = photo_graphs(open_bundle(exported("conv4", "ridge")))
    assert set(all_layers(photo_graphs(default))) == set(all_layers(new))


def test_nothing_but_layers_and_the_backbone_reads_quantised_tensors(graphs):
    for graph in (model.graph for model in graphs.values()):
        operators = {node.name: node.op_type for node in graph.node}
        for dialect in DIALECTS:
            for name, nodes in readers(graph, dialect).items():
                kinds = {operators[node] for node in nodes if node not in layers_of(graph)}
                if name.startswith("backbone") and dialect is ORT:
                    assert kinds <= {"Relu", "MaxPool", "Reshape"}, name
                else:
                    assert not kinds, name


def test_the_outputs_of_products_are_never_quantised(graphs):
    """A mask bit is a step function of the product with qkv."""
    for graph in (model.graph for model in graphs.values()):
        products = {node.output[0] for node in graph.node if node.op_type in ("MatMul", "Gemm")}
        for dialect in DIALECTS:
            assert not products & set(plan(graph, dialect).edges)


def test_for_onnxruntime_the_residual_block_is_quantised_from_end_to_end(residual):
    assert readers(residual.graph, ORT) == {
        "images": {"first/Conv", "shortcut/Conv"},
        "first": {"leaky/LeakyRelu"},
        "leaky": {"second/Conv"},
        "second": {"sum/Add"},
        "shortcut": {"sum/Add"},
        "sum": {"last/LeakyRelu"},
        "last": {"pool/MaxPool"},
        "pooled": {"tokens/Reshape"},
        "tokens": {"linear/MatMul"},
    }
    assert plan(residual.graph, ORT).edges["pooled"].grid_of == "last"


def test_for_nvidia_inputs_of_layers_and_the_shortcut_are_quantised_and_nothing_else(residual):
    assert readers(residual.graph, TRT) == {
        "images": {"first/Conv", "shortcut/Conv"},
        "leaky": {"second/Conv"},
        "shortcut": {"sum/Add"},
        "tokens": {"linear/MatMul"},
    }


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.variant)
def test_a_layer_that_is_kept_reads_and_writes_float32(residual, dialect):
    found = plan(residual.graph, dialect, kept=["second"])
    assert "second/Conv" not in found.layers
    assert "second" not in found.edges
    assert "leaky" not in found.edges or "second/Conv" not in found.edges["leaky"].readers or dialect is ORT
    assert not any("sum/Add" in edge.readers for edge in found.edges.values()) or dialect is ORT
    assert "sum" not in found.edges


def test_whatever_is_kept_the_ranges_were_observed(graphs):
    for graph in (model.graph for model in graphs.values()):
        there = observed(graph)
        for kept in ([], ["backbone.blocks.1.conv"], ["backbone.blocks.0.conv", "backbone.blocks.3.conv"]):
            for dialect in DIALECTS:
                assert {edge.grid_of for edge in plan(graph, dialect, kept).edges.values()} <= there
