"""NVIDIA's own compiler takes the graphs, and computes where the rules say; and the check can fail."""

from __future__ import annotations

import shutil

import onnx
import pytest

from hmdrn_export import exporter
from hmdrn_export.tensorrt.check import TARGETS, check_bundle
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, compute_sha256, open_bundle

CONVOLUTIONS = {"conv4": 4, "resnet12": 16, "efficientnet-lite0": 50}
KINDS = [(b, h) for b in CONVOLUTIONS for h in ("ridge", "attention")]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["fp32", "fp16"])
@pytest.mark.parametrize(("backbone", "head"), KINDS)
def test_every_graph_compiles_in_the_precision_of_the_rules(backbone, head, variant, written, compiler):
    bundle = written(backbone, head, variant)
    checks = check_bundle(compiler, bundle)
    expected = {"enroll", "classify", "explain"} | ({"encode"} if head == "ridge" else set())
    expected |= {"solve"} if (head, variant) == ("ridge", "fp32") else set()
    assert {check.graph for check in checks} == expected
    assert TARGETS == ("SM80", "SM86", "SM89", "SM120", "SM121")
    for check in checks:
        assert check.problems == ()
        assert check.layers > 50
        if variant == "fp32":
            assert check.half_products == 0
            assert check.float_products > 35
        else:
            # The convolutions, and by level and layer qkv, attention, out and both of the MLP.
            assert check.half_products >= CONVOLUTIONS[backbone] - 9 + 2 * 3 * 5
            assert check.float_products <= 4


@pytest.fixture
def broken(written, tmp_path):
    """broken(change): a bundle whose half `classify` was changed by hand, with a digest to match."""

    def make(change):
        source = written("conv4", "ridge", "fp16")
        path = tmp_path / "broken.hmdrn"
        shutil.copytree(source.path, path)
        file = source.graph("classify").file
        model = onnx.load(path / file, load_external_data=False)
        change(model.graph)
        onnx.save(model, path / file)
        manifest = source.manifest
        digests = {**manifest.files, file: compute_sha256(path / file)}
        changed = exporter.replace(
            manifest,
            files=digests,
            variants={"fp16": {"classify": manifest.variants["fp16"]["classify"]}},
        )
        (path / MANIFEST_NAME).write_text(changed.to_json(), encoding="utf-8")
        return open_bundle(path, "fp16")

    return make


def retyped(graph, name, to):
    """Have one node compute in another type, with casts around it as a converter would place them."""
    (i,) = (i for i, node in enumerate(graph.node) if node.name == name)
    node = graph.node[i]
    before = []
    for j, value in enumerate(node.input):
        before.append(onnx.helper.make_node("Cast", [value], [f"by hand {j}"], name=f"hand{j}", to=to))
        node.input[j] = f"by hand {j}"
    back = onnx.TensorProto.FLOAT16 if to == onnx.TensorProto.FLOAT else onnx.TensorProto.FLOAT
    output = node.output[0]
    node.output[0] = "by hand"
    after = onnx.helper.make_node("Cast", ["by hand"], [output], name="hand", to=back)
    nodes = [*graph.node[:i], *before, node, after, *graph.node[i + 1 :]]
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "to", "match"),
    [
        ("transformers.mid.layers.1.attention.out/MatMul", onnx.TensorProto.FLOAT, "reads FLOAT, not HALF"),
        ("transformers.mid.layers.0.attention/Greater", onnx.TensorProto.FLOAT16, "reads HALF, not FLOAT"),
        ("gram.high/MatMul", onnx.TensorProto.FLOAT16, "reads HALF, not FLOAT"),
    ],
)
def test_a_node_that_computes_in_another_precision_is_found(name, to, match, broken, compiler):
    def change(graph):
        whole = next(n.name for n in graph.node if n.name.startswith(name))
        retyped(graph, whole, to)
        if name.endswith("Greater"):  # its result is not a number to cast back
            node = next(n for n in graph.node if n.name == "hand")
            graph.node.remove(node)
            next(n for n in graph.node if n.name == whole).output[0] = node.output[0]

    (check,) = check_bundle(compiler, broken(change), targets=("SM86",))
    assert any(name in problem and match in problem for problem in check.problems), check.problems


def test_a_graph_that_mixes_types_is_refused_with_the_compilers_words(broken, compiler):
    def change(graph):
        casts = [node for node in graph.node if node.op_type == "Cast" and "norm/Layer" in node.name]
        casts[0].attribute[0].i = onnx.TensorProto.FLOAT

    (check,) = check_bundle(compiler, broken(change), targets=("SM86",))
    assert check.layers == 0
    assert "tensorrt_rtx could not parse" in check.problems[0]
