"""The table of rules: complete, readable, and followed by the half graphs."""

from __future__ import annotations

import onnx
import pytest
from onnx_graphs import load_graph

from hmdrn_export.precision.half import convert_to_half
from hmdrn_export.precision.rules import (
    DATA_MOVEMENT,
    RULES,
    describe_rules,
    find_rule,
    list_values,
    rule_key,
)
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import ExportError

HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
PHOTO_GRAPHS = {
    "ridge": ("enroll", "classify", "encode", "explain"),
    "attention": ("enroll", "classify", "explain"),
}


@pytest.fixture(scope="module", params=["ridge", "attention"])
def pairs(request, exported):
    """The float32 graphs of a bundle that look at photos, each with its half twin."""
    bundle = open_bundle(exported("conv4", request.param))
    singles = [load_graph(bundle.graph_path(name)) for name in PHOTO_GRAPHS[request.param]]
    return [(single, convert_to_half(single)) for single in singles]


def types(model):
    """Element type of every value and constant."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    return values | {weight.name: weight.data_type for weight in graph.initializer}


def node_of(**values):
    return onnx.NodeProto(**values)


def test_every_rule_decides_on_some_node_and_gives_a_reason(pairs):
    listing = describe_rules((single for single, _ in pairs), (half for _, half in pairs))
    decided = {entry["reason"] for entry in listing}
    ridge = {rule.reason for rule in RULES if rule.nodes[0].startswith(("gram", "hmdrn/Gemm"))}
    attention = {rule.reason for rule in RULES if rule.nodes[0] == "reconstruction.*/Sub"}
    assert {rule.reason for rule in RULES} - ridge - attention <= decided
    assert decided & (ridge | attention)


def test_what_moves_float32_in_a_half_graph_is_listed_with_it(pairs):
    listing = describe_rules((single for single, _ in pairs), (half for _, half in pairs))
    single = {name for entry in listing if entry["precision"] == "fp32" for name in entry.get("nodes", ())}
    for _, half in pairs:
        kinds = types(half)
        for node in half.graph.node:
            real = {kinds[name] for name in node.output} & {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
            if real and node.op_type in DATA_MOVEMENT:
                assert (node.name in single) == (real == {onnx.TensorProto.FLOAT}), node.name


def test_a_node_that_no_rule_knows_is_refused_with_what_to_do():
    with pytest.raises(ExportError, match=r"no rule says .* 'a.b/Tanh' .* add one to .* --precision fp32"):
        find_rule(node_of(name="a.b/Tanh", op_type="Tanh"))


@pytest.mark.parametrize(
    ("name", "op", "precision"),
    [
        ("transformers.mid.layers.2.attention/ReduceSum", "ReduceSum", "fp32"),
        ("transformers.mid.layers.2.attention/Greater_2", "Greater", "fp32"),
        ("transformers.high.layers.0.attention/Softmax_2", "Softmax", "fp32"),
        ("transformers.high.norm/LayerNormalization", "LayerNormalization", "fp32"),
        ("transformers.high.layers.1.norm/LayerNormalization_2", "LayerNormalization", "fp32"),
        ("gram.high/MatMul_2", "MatMul", "fp32"),
        ("hmdrn/Gemm_2", "Gemm", "fp32"),
        ("reconstruction.mid/ReduceSum", "ReduceSum", "fp32"),
        ("backbone.blocks.3.shortcut_norm/Conv", "Conv", "fp16"),
        ("backbone.blocks.3.depthwise_norm/Conv", "Conv", "fp16"),
        ("backbone.blocks.3/Clip_2", "Clip", "fp16"),
        ("projections.high.norm/Conv", "Conv", "fp16"),
        ("transformers.mid.layers.2.attention.qkv/MatMul_2", "MatMul", "fp16"),
        ("transformers.mid.layers.2.attention/MatMul_4", "MatMul", "fp16"),
        ("transformers.mid.layers.2.mlp_out/Add", "Add", "fp16"),
        ("heads.mid.qkv/MatMul", "MatMul", "fp16"),
    ],
)
def test_sensitive_parts_stay_in_float32_and_products_become_half(name, op, precision):
    assert find_rule(node_of(name=name, op_type=op)).precision == precision


def test_the_types_of_a_half_graph_are_what_the_rules_say(pairs):
    for _, half in pairs:
        known = types(half)
        for node in half.graph.node:
            if node.op_type in DATA_MOVEMENT or node.op_type == "Cast":
                continue
            read = {known[name] for name in node.input if name} & {HALF, FLOAT}
            if read:
                assert read == {HALF if find_rule(node).precision == "fp16" else FLOAT}, node.name


def test_a_half_graph_differs_from_its_twin_by_casts_alone(pairs):
    for single, half in pairs:
        assert half.graph.input == single.graph.input
        assert half.graph.output == single.graph.output
        added = [n for n in half.graph.node if n.name not in {m.name for m in single.graph.node}]
        assert {n.op_type for n in added} == {"Cast"}
        assert len(half.graph.node) == len(single.graph.node) + len(added)
        assert len({n.name for n in half.graph.node}) == len(half.graph.node)
        assert [rule_key(n) for n in half.graph.node if n not in added] == [
            rule_key(n) for n in single.graph.node
        ]


def test_weights_of_half_nodes_are_stored_as_half(pairs):
    for single, half in pairs:
        weights = [[w for w in m.graph.initializer if "input" not in w.name] for m in (single, half)]
        sizes = [sum(w.ByteSize() for w in ws) for ws in weights]
        assert sizes[1] < 0.55 * sizes[0]
        stored = {w.name: w.data_type for w in half.graph.initializer}
        assert stored["backbone.blocks.0.conv.weight:half"] == HALF
        assert "backbone.blocks.0.conv.weight" not in stored


def test_two_conversions_of_one_graph_are_identical(pairs):
    single, half = pairs[0]
    assert convert_to_half(single).SerializeToString(deterministic=True) == half.SerializeToString(
        deterministic=True
    )


def test_a_weight_beyond_half_is_refused(pairs):
    single = onnx.ModelProto.FromString(pairs[0][0].SerializeToString())
    weight = next(w for w in single.graph.initializer if w.name == "backbone.blocks.0.conv.weight")
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] = 70_000.0
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    with pytest.raises(ExportError, match=r"conv.weight' has values up to 7e\+04, .* --precision fp32"):
        convert_to_half(single)


def test_integers_are_not_converted():
    node = onnx.helper.make_node("Add", ["i", "i"], ["j"], name="gram.mid/Add")
    value = onnx.helper.make_tensor_value_info("i", onnx.TensorProto.INT64, [1])
    out = onnx.helper.make_tensor_value_info("j", onnx.TensorProto.INT64, [1])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [out]))
    assert list(list_values(model)) == []
    assert convert_to_half(model).graph.node == model.graph.node
