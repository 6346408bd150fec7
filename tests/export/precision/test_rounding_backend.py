"""The executor rounds to half, and computes what onnx.reference says."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx_graphs import load_graph

from hmdrn_export.exporter import DerivedVariants, add_variants, export_bundle
from hmdrn_export.precision.half import convert_to_half
from hmdrn_export.precision.rounding_backend import RoundingBackend, emulate_half
from hmdrn_export.precision.rules import list_values
from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, open_bundle
from hmdrn_runtime.errors import BackendError, VerificationError
from hmdrn_runtime.specimens.drawing import draw_specimens


class GatherElements(OpRun):
    """In place of the reference's own, which gives up beyond 64 entries (onnx 1.23)."""

    op_domain = ""

    def _run(self, data, indices, axis=0):
        return (np.take_along_axis(data, indices, axis),)


def reference(model):
    return ReferenceEvaluator(model, new_ops=[GatherElements])


ULP = 2.0**-10
"""A unit in the last place of a half number, relative to it at most."""


def classify_inputs(bundle):
    """Two photos, and three classes drawn at random."""
    rng = np.random.default_rng(0)
    inputs = {"images": draw_specimens(range(1), 2, size=84)[0]}
    for tensor in bundle.graph("classify").inputs[1:]:
        sizes = {"classes": 3, "tokens_high": 50, "tokens_mid": 200}
        shape = [sizes.get(size, size) for size in tensor.shape]
        kind = tensor.name.split("_")[0]
        inputs[tensor.name] = (
            np.ones(shape, bool) if kind == "valid" else rng.standard_normal(shape).astype(np.float32)
        )
    return inputs


@pytest.fixture(scope="module", params=["ridge", "attention"])
def half(request, exported):
    """A half `classify` graph with inputs for it."""
    bundle = open_bundle(exported("conv4", request.param))
    return convert_to_half(load_graph(bundle.graph_path("classify"))), classify_inputs(bundle)


def run_emulated(model, inputs, values):
    """Some values of a half graph, as the executor computes them."""
    emulated = emulate_half(model)
    outputs = {output.name for output in emulated.graph.output}
    emulated.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values if name not in outputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(emulated.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(values, session.run(values, inputs), strict=True))


def computed(model, inputs):
    """Every value of a graph, by the executor; half results as half, if they are exactly that."""
    known = inputs | run_emulated(model, inputs, [name for n in model.graph.node for name in n.output])
    for name in list_values(model, onnx.TensorProto.FLOAT16):
        if name in known:
            rounded = known[name].astype(np.float16)
            np.testing.assert_array_equal(rounded, known[name], err_msg=name)
            known[name] = rounded
    return known


@pytest.mark.slow
def test_every_node_agrees_with_the_reference_to_one_ulp(half):
    model, inputs = half
    known = computed(model, inputs)
    constants = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    for node in model.graph.node:
        # The reference adds up a convolution in half, term by term: see the test below for those.
        if node.op_type == "Conv":
            continue
        names = [name for name in node.input if name]
        graph = onnx.helper.make_graph(
            [node],
            "one",
            [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names)],
            [onnx.ValueInfoProto(name=name) for name in node.output],
        )
        one = onnx.helper.make_model(graph, opset_imports=model.opset_import)
        expected = reference(one).run(None, {name: known.get(name, constants.get(name)) for name in names})
        for name, value in zip(node.output, expected, strict=True):
            found = known[name]
            assert found.dtype == value.dtype, node.name
            if value.dtype == np.float16:
                scale = np.abs(value.astype(np.float64)).max()
                np.testing.assert_allclose(found, value, rtol=ULP, atol=ULP * scale / 8, err_msg=node.name)
            elif value.dtype == np.float32:
                scale = np.abs(np.where(np.isfinite(value), value, 0)).max()
                np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5 * scale, err_msg=node.name)
            else:
                np.testing.assert_array_equal(found, value, err_msg=node.name)


def test_a_convolution_is_added_up_in_float32_and_rounded_once(half):
    model, inputs = half
    known = computed(model, inputs)
    node = next(n for n in model.graph.node if n.op_type == "Conv" and "blocks.3" in n.name)
    constants = {w.name: onnx.numpy_helper.to_array(w).astype(np.float64) for w in model.graph.initializer}
    x, weight, bias = known[node.input[0]].astype(np.float64), *(constants[name] for name in node.input[1:])
    exact = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, weight, bias)), padding=1).numpy()
    found = known[node.output[0]]
    assert found.dtype == np.float16
    assert np.mean(found == exact.astype(np.float16)) > 0.99
    assert np.mean(found == exact) < 0.1


@pytest.mark.slow
def test_a_whole_graph_agrees_with_the_reference_on_some_images(half):
    model, inputs = half
    names = [output.name for output in model.graph.output]
    expected = reference(model).run(names, inputs)
    known = computed(model, inputs)
    for name, value in zip(names, expected, strict=True):
        assert np.abs(known[name] - value).max() < 0.01 * np.abs(value).max(), name


def test_a_half_result_above_65504_is_infinite_and_its_node_is_reported():
    def run(x, half):
        kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
        x_info, y_info = (
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"
        )
        nodes = [
            onnx.helper.make_node("Cast", ["x"], ["h"], name="h", to=kind),
            onnx.helper.make_node("Mul", ["h", "h"], ["square"], name="square"),
            onnx.helper.make_node("Div", ["square", "h"], ["back"], name="back"),
            onnx.helper.make_node("Cast", ["back"], ["y"], name="y", to=onnx.TensorProto.FLOAT),
        ]
        model = onnx.helper.make_model(
            onnx.helper.make_graph(nodes, "g", [x_info], [y_info]),
            opset_imports=[onnx.helper.make_opsetid("", 18)],
            ir_version=10,
        )
        names = [output.name for output in emulate_half(model).graph.output]
        return run_emulated(model, {"x": np.array([x], np.float32)}, names)

    assert run(255.0, half=True) == {
        "y": 255.0,
        "h/largest": 255.0,
        "square/largest": 65_024.0,
        "back/largest": 255.0,
    }
    overflowed = run(257.0, half=True)  # 66,049 is above 65,504
    assert np.isinf(overflowed["y"])
    assert np.isfinite(overflowed["h/largest"])
    assert np.isinf(overflowed["square/largest"])
    assert run(257.0, half=False) == {"y": 257.0}


def test_a_graph_can_start_from_intermediate_values(exported, tmp_path):
    source = open_bundle(exported("conv4", "attention"))
    path = tmp_path / "half.hmdrn"
    shutil.copytree(source.path, path)
    models = {name: convert_to_half(load_graph(source.graph_path(name))) for name in ("classify", "explain")}
    manifest = add_variants(path, source.manifest, DerivedVariants({"fp16": models}, {}))
    (path / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    backend = RoundingBackend(open_bundle(path, "fp16"))
    inputs = classify_inputs(source)
    whole = backend.run("classify", inputs)
    explained = backend.run("explain", {"images": inputs.pop("images")})
    queries = {name: value for name, value in explained.items() if name.startswith(("query_q", "query_v"))}
    assert len(queries) == 4
    tail = backend.run("classify", {**queries, **inputs})
    for name, value in whole.items():
        np.testing.assert_allclose(tail[name], value, rtol=1e-6, err_msg=name)
    assert backend.overflowed is None


@pytest.mark.slow
def test_a_network_that_overflows_half_is_refused_and_the_node_named(seeded_checkpoint, untraced, tmp_path):
    checkpoint = load_checkpoint(seeded_checkpoint("conv4", "attention"))
    # 65,504 is exceeded between the second convolution and the third, which takes it back.
    with torch.no_grad():
        checkpoint.network.backbone.blocks[1].norm.weight.mul_(1e5)
        checkpoint.network.backbone.blocks[1].norm.bias.mul_(1e5)
        checkpoint.network.backbone.blocks[2].conv.weight.mul_(1e-5)
    export_bundle(checkpoint, tmp_path / "single.hmdrn")
    untraced(tmp_path / "single.hmdrn")
    with pytest.raises(VerificationError, match=r"half overflows in 'backbone.blocks.1.* fp32"):
        export_bundle(checkpoint, tmp_path / "half.hmdrn", "fp16")
    assert [p.name for p in tmp_path.iterdir()] == ["single.hmdrn"]


@pytest.mark.slow
def test_an_fp16_bundle_has_both_variants_a_float32_solve_and_the_rules(
    seeded_checkpoint, exported, untraced, tmp_path
):
    from hmdrn.loading import load

    untraced(exported("conv4", "ridge"))
    path = tmp_path / "half.hmdrn"
    checkpoint = load_checkpoint(seeded_checkpoint("conv4", "ridge"))
    result = export_bundle(checkpoint, path, "fp16")
    assert "rounding to half" in result.executor
    assert result.mask_bits_differing < 0.005
    manifest = open_bundle(path, "fp16").manifest
    assert manifest.variants["fp16"]["solve"] == manifest.variants["fp32"]["solve"]
    assert {g.precision for n, g in manifest.variants["fp16"].items() if n != "solve"} == {"fp16"}
    assert set(manifest.verification) == {"fp16", "fp32"}
    rules = json.loads((path / "manifest.json").read_text())["precision_rules"]["fp16"]
    assert all(rule["reason"] and (rule.get("nodes") or rule.get("graphs")) for rule in rules)
    in_float32 = 4 * sum(values.numel() for values in checkpoint.network.state_dict().values())
    assert (path / "graphs/fp16/constants.bin").stat().st_size < 0.55 * in_float32

    recognizer = load(path)
    assert recognizer.bundle.variant == "fp32"
    beginning = "onnxruntime runs the fp32 graphs; not fp16: they are for tensorrt; not tensorrt: "
    assert str(recognizer.backend_report).startswith(beginning)
    from hmdrn_runtime.backends.selection import open_backend

    with pytest.raises(BackendError, match=r"variant 'fp16' of .* is for tensorrt"):
        open_backend(open_bundle(path, "fp16"))
