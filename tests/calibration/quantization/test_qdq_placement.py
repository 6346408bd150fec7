from __future__ import annotations

import pytest

from hmdrn_calibration.quantization.layers import find_layers, list_layers, load_photo_graphs
from hmdrn_calibration.quantization.qdq_placement import (
    DIALECTS,
    ORT,
    TRT,
    list_observed_tensors,
    plan_placement,
)


@pytest.fixture(scope="module", params=["ridge", "attention"])
def graphs(request, exported):
    from hmdrn_runtime.bundle.bundle import open_bundle

    return load_photo_graphs(open_bundle(exported("conv4", request.param)))


def readers(graph, dialect):
    return {name: set(tensor.readers) for name, tensor in plan_placement(graph, dialect).tensors.items()}


def test_every_convolution_and_linear_layer_is_a_layer(graphs):
    layers = list_layers(graphs)
    assert [layer for layer in layers if layer.startswith("backbone")] == [
        f"backbone.blocks.{i}.conv" for i in range(4)
    ]
    linear = [layer for layer in layers if layer.startswith("transformers")]
    assert len(linear) == 2 * 3 * 4, "qkv, out, mlp_in and mlp_out of three layers at two levels"
    heads = [layer for layer in layers if layer.startswith("heads")]
    assert heads == (["heads.high.qkv", "heads.mid.qkv"] if heads else [])
    assert len(layers) == 4 + len(linear) + len(heads)


def test_nothing_but_layers_and_the_backbone_reads_quantized_tensors(graphs):
    for graph in (model.graph for model in graphs.values()):
        operators = {node.name: node.op_type for node in graph.node}
        for dialect in DIALECTS:
            for name, nodes in readers(graph, dialect).items():
                kinds = {operators[node] for node in nodes if node not in find_layers(graph)}
                if name.startswith("backbone") and dialect is ORT:
                    assert kinds <= {"Relu", "MaxPool", "Reshape"}, name
                else:
                    assert not kinds, name


def test_the_outputs_of_products_are_never_quantized(graphs):
    """A mask bit is a step function of the product with qkv."""
    for graph in (model.graph for model in graphs.values()):
        products = {node.output[0] for node in graph.node if node.op_type in ("MatMul", "Gemm")}
        for dialect in DIALECTS:
            assert not products & set(plan_placement(graph, dialect).tensors)


def test_for_onnxruntime_the_residual_block_is_quantized_from_end_to_end(residual):
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
    assert plan_placement(residual.graph, ORT).tensors["pooled"].grid_source == "last"


def test_for_nvidia_only_layer_inputs_and_the_shortcut_are_quantized(residual):
    assert readers(residual.graph, TRT) == {
        "images": {"first/Conv", "shortcut/Conv"},
        "leaky": {"second/Conv"},
        "shortcut": {"sum/Add"},
        "tokens": {"linear/MatMul"},
    }


def test_for_onnxruntime_relu6_is_one_operator_with_its_convolution(inverted):
    assert readers(inverted.graph, ORT) == {
        "images": {"a.expand/Conv"},
        "a.expand6": {"a.depthwise/Conv"},
        "a.depthwise6": {"a.project/Conv"},
        "a.project": {"b.expand/Conv", "sum/Add"},
        "b.expand6": {"b.depthwise/Conv"},
        "b.depthwise6": {"b.project/Conv"},
        "b.project": {"sum/Add"},
        "sum": {"projection/Conv"},
        "projection": {"output/Tanh"},
    }


def test_for_nvidia_the_shortcut_is_what_the_next_block_reads_too(inverted):
    assert readers(inverted.graph, TRT) == {
        "images": {"a.expand/Conv"},
        "a.expand6": {"a.depthwise/Conv"},
        "a.depthwise6": {"a.project/Conv"},
        "a.project": {"b.expand/Conv", "sum/Add"},
        "b.expand6": {"b.depthwise/Conv"},
        "b.depthwise6": {"b.project/Conv"},
        "sum": {"projection/Conv"},
    }


def test_a_relu6_after_a_layer_that_is_kept_stays_in_float32(inverted):
    tensors = plan_placement(inverted.graph, ORT, float32_layers=["b.depthwise"]).tensors
    assert not any("b.depthwise/Clip" in tensor.readers for tensor in tensors.values())
    assert tensors["b.depthwise6"].readers == {"b.project/Conv"}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.variant)
def test_a_layer_that_is_kept_reads_and_writes_float32(residual, dialect):
    placement = plan_placement(residual.graph, dialect, float32_layers=["second"])
    assert "second/Conv" not in placement.layers
    assert "second" not in placement.tensors
    if dialect is TRT:
        assert "leaky" not in placement.tensors
        assert not any("sum/Add" in tensor.readers for tensor in placement.tensors.values())
    assert "sum" not in placement.tensors


def test_whatever_is_kept_the_ranges_were_observed(graphs):
    for graph in (model.graph for model in graphs.values()):
        there = list_observed_tensors(graph)
        for kept in ([], ["backbone.blocks.1.conv"], ["backbone.blocks.0.conv", "backbone.blocks.3.conv"]):
            for dialect in DIALECTS:
                tensors = plan_placement(graph, dialect, kept).tensors.values()
                assert {tensor.grid_source for tensor in tensors} <= there
