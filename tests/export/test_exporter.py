from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from hmdrn_export import exporter
from hmdrn_export.bundle_writer.checkpoint_file import CheckpointFile
from hmdrn_export.bundle_writer.weights_file import write_graphs
from hmdrn_export.exporter import export_bundle
from hmdrn_export.graphs.trace_jobs import make_trace_jobs
from hmdrn_export.graphs.tracing import trace_graphs
from hmdrn_network.checkpoints import ModelCard, load_checkpoint, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.folding import fold_normalizations
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import ExportError, VerificationError

RIDGE_GRAPHS = {"enroll", "solve", "classify", "encode", "explain"}
ATTENTION_GRAPHS = {"enroll", "classify", "explain"}


@pytest.fixture(scope="module", params=["ridge", "attention"])
def bundle(request, exported):
    return open_bundle(exported("conv4", request.param))


def model_of(bundle, name, **options):
    return onnx.load(bundle.graph_path(name), **options)


def test_a_bundle_has_the_graphs_of_its_head(bundle):
    expected = RIDGE_GRAPHS if bundle.manifest.network.head == "ridge" else ATTENTION_GRAPHS
    assert set(bundle.manifest.variants["fp32"]) == expected


def test_every_graph_passes_the_onnx_checker_from_its_file(bundle):
    for name in bundle.manifest.variants["fp32"]:
        onnx.checker.check_model(str(bundle.graph_path(name)), full_check=True)


def test_every_graph_says_what_it_is_in_its_metadata(bundle):
    for name in bundle.manifest.variants["fp32"]:
        metadata = {p.key: p.value for p in model_of(bundle, name, load_external_data=False).metadata_props}
        assert metadata["hmdrn.graph"] == name
        assert metadata["hmdrn.fingerprint"] == bundle.manifest.network.fingerprint
        assert metadata["hmdrn.precision"] == "fp32"
        assert metadata["hmdrn.head"] == bundle.manifest.network.head


def test_the_manifest_has_the_true_inputs_and_outputs(bundle):
    for name, graph in bundle.manifest.variants["fp32"].items():
        model = model_of(bundle, name, load_external_data=False)
        assert [t.name for t in graph.inputs] == [v.name for v in model.graph.input]
        assert [t.name for t in graph.outputs] == [v.name for v in model.graph.output]
        assert graph.opset == model.opset_import[0].version


def test_nodes_and_weights_are_named_after_the_modules_they_are_of(bundle):
    graph = model_of(bundle, "classify", load_external_data=False).graph
    names = [node.name for node in graph.node]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith(("node_", "val_"))]
    assert any(name.startswith("transformers.mid.layers.2.attention/Softmax") for name in names)
    assert "backbone.blocks.0.conv.weight" in {w.name for w in graph.initializer}
    assert "checkpoint/transformers.mid.layers.0.mlp_in.weight" in {w.name for w in graph.initializer}
    assert not [w.name for w in graph.initializer if w.name.startswith("val_")]


def test_nothing_in_a_graph_reveals_where_it_was_made(bundle):
    for name in bundle.manifest.variants["fp32"]:
        content = bundle.graph_path(name).read_bytes()
        assert b"site-packages" not in content
        assert b".py" not in content


def test_the_graphs_read_every_weight_from_the_bundles_checkpoint(bundle):
    network = load_checkpoint(bundle.path).network
    read = {
        constant.name.removeprefix("checkpoint/")
        for name in bundle.manifest.variants["fp32"]
        for constant in model_of(bundle, name, load_external_data=False).graph.initializer
        if "weights.safetensors" in {entry.value for entry in constant.external_data}
    }
    matrices = {name for name, value in network.state_dict().items() if value.dim() > 1}
    assert matrices <= read
    folder = bundle.graph_path("classify").parent
    assert (folder / "constants.bin").stat().st_size < 250_000  # positions, of tokens and of triangles
    assert all(
        (folder / f"{name}.onnx").stat().st_size < 150_000 for name in bundle.manifest.variants["fp32"]
    )


def test_a_bundle_holds_a_checkpoint_of_the_same_function(seeded_checkpoint, exported):
    given = load_checkpoint(seeded_checkpoint("conv4", "ridge"))
    held = load_checkpoint(exported("conv4", "ridge"))
    assert held.card == given.card
    expected = fold_normalizations(given.network).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in held.network.state_dict().items())


@pytest.mark.parametrize("compact", [True, False])
def test_graphs_in_a_file_hold_the_traced_numbers_to_the_last_bit(compact, tmp_path):
    torch.manual_seed(0)
    network = HMDRN(NetworkConfig()).eval()
    save_checkpoint(tmp_path / "c.safetensors", network, ModelCard("c"), compact=compact)
    checkpoint = load_checkpoint(tmp_path / "c.safetensors")
    weights = checkpoint.network.state_dict()
    constants = {
        "kernel": weights["backbone.blocks.1.conv.weight"].numpy(),
        "transposed": weights["transformers.mid.layers.0.attention.qkv.weight"].T.numpy(),
        "plain": weights["transformers.mid.norm.weight"].numpy(),
        "other": np.arange(100, dtype=np.float32),
    }
    nodes = [onnx.helper.make_node("Identity", [name], [f"{name}/out"]) for name in constants]
    outputs = [
        onnx.helper.make_tensor_value_info(f"{n}/out", onnx.TensorProto.FLOAT, v.shape)
        for n, v in constants.items()
    ]
    initializers = [onnx.numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()]
    graph = onnx.helper.make_graph(nodes, "weights", [], outputs, initializers)
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    write_graphs({"weights": model}, tmp_path, CheckpointFile(checkpoint, tmp_path / "weights.safetensors"))
    written = str(tmp_path / "weights.onnx")
    onnx.checker.check_model(written, full_check=True)
    assert (tmp_path / "constants.bin").stat().st_size < 500  # the one that is no weight
    session = ort.InferenceSession(written, providers=["CPUExecutionProvider"])
    for value, result in zip(constants.values(), session.run(None, {}), strict=True):
        np.testing.assert_array_equal(result, value)


def test_the_solve_is_matrix_products_alone(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    operators = {node.op_type for node in model_of(bundle, "solve").graph.node}
    products = {"MatMul", "Mul", "Add", "Sub", "Div", "Reciprocal"}
    shapes = {"Split", "Reshape", "Unsqueeze", "Concat", "Gather", "GatherElements", "Shape", "Transpose"}
    assert operators <= products | shapes | {"Abs", "ReduceSum", "ReduceMax", "Expand"}


@pytest.mark.parametrize("photos", [1, 2, 7])
@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_no_batch_class_or_shot_count_is_frozen(head, photos, classes, exported):
    """Each photo's and class's result is what it is alone, whatever comes with it."""
    bundle = open_bundle(exported("conv4", head))
    backend = open_backend(bundle, threads=1)
    rng = np.random.default_rng(photos * 10 + classes)
    images = rng.integers(0, 256, (photos, 84, 84, 3), dtype=np.uint8)
    inputs = {"images": images}
    if head == "ridge":
        inputs["operator"] = rng.standard_normal((classes, 4160)).astype(np.float32)
    else:
        for level, tokens in (("high", 25), ("mid", 100)):
            shape = (classes, 3 * tokens, 64)
            inputs[f"k_{level}"] = rng.standard_normal(shape).astype(np.float32)
            inputs[f"v_{level}"] = rng.standard_normal(shape).astype(np.float32)
            inputs[f"valid_{level}"] = np.ones(shape[:2], dtype=bool)
    together = backend.run("classify", inputs)
    assert together["logits"].shape == (photos, classes)
    alone = {name: value[-1:] for name, value in inputs.items()}
    single = backend.run("classify", alone)
    for name in ("distance_high", "distance_mid", "logits"):
        np.testing.assert_allclose(single[name][0, 0], together[name][-1, -1], rtol=2e-4)


@pytest.mark.slow
def test_two_traces_of_one_checkpoint_are_identical(exported, seeded_checkpoint):
    bundle = open_bundle(exported("conv4", "ridge"))
    network = load_checkpoint(seeded_checkpoint("conv4", "ridge")).network
    metadata = {p.key: p.value for p in model_of(bundle, "solve").metadata_props}
    solve = trace_graphs(
        make_trace_jobs(network)[1], {k: v for k, v in metadata.items() if k != "hmdrn.graph"}
    )["solve"]
    before = model_of(bundle, "solve")
    assert [n.SerializeToString() for n in solve.graph.node] == [
        n.SerializeToString() for n in before.graph.node
    ]
    for new, old in zip(solve.graph.initializer, before.graph.initializer, strict=True):
        assert new.name == old.name
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(new), onnx.numpy_helper.to_array(old))


def test_the_verification_report_is_kept_in_the_manifest(bundle):
    report = bundle.manifest.verification["fp32"]
    assert report["episodes"] >= 20
    assert report["distance_error"] <= 1e-4
    assert report["mask_bits"] > 50_000
    assert report["mask_bits_differing"] == 0.0
    assert report["top1_agreement"] == 100.0
    assert (report["solve_residual"] is not None) == (bundle.manifest.network.head == "ridge")


@pytest.mark.slow
def test_wrong_graphs_fail_verification_and_leave_nothing(exported, seeded_checkpoint, tmp_path, untraced):
    checkpoint = load_checkpoint(seeded_checkpoint("conv4", "ridge"))
    untraced(exported("conv4", "ridge"))
    with torch.no_grad():
        checkpoint.network.heads["mid"].beta.add_(0.01)
    with pytest.raises(VerificationError, match="distances differ by") as raised:
        export_bundle(checkpoint, tmp_path / "not" / "yet" / "b.hmdrn")
    assert raised.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_network_whose_mask_differs_fails_verification(exported, seeded_checkpoint, tmp_path, untraced):
    checkpoint = load_checkpoint(seeded_checkpoint("conv4", "attention"))
    untraced(exported("conv4", "attention"))
    with torch.no_grad():
        checkpoint.network.transformers["high"].layers[1].attention.qkv.weight[:64].mul_(
            1 + 0.2 * torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
        )
    with pytest.raises(VerificationError, match="of the mask bits differ"):
        export_bundle(checkpoint, tmp_path / "b.hmdrn")


@pytest.mark.slow
def test_a_bundle_is_replaced_as_a_whole(exported, seeded_checkpoint, tmp_path, untraced):
    source = exported("conv4", "attention")
    untraced(source)
    target = tmp_path / "b.hmdrn"
    shutil.copytree(exported("conv4", "ridge"), target)
    (target / "graphs/fp32/leftover").write_text("of the old bundle")
    export_bundle(load_checkpoint(seeded_checkpoint("conv4", "attention")), target)
    assert open_bundle(target).manifest.network.head == "attention"
    assert not (target / "graphs/fp32/leftover").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["b.hmdrn"]


def test_a_folder_that_is_not_a_bundle_is_not_overwritten(seeded_checkpoint, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.txt").write_text("dear to someone")
    with pytest.raises(ExportError, match=r"holiday exists and is not a bundle"):
        export_bundle(load_checkpoint(seeded_checkpoint("conv4", "attention")), tmp_path / "holiday")
    assert (tmp_path / "holiday" / "photo.txt").read_text() == "dear to someone"


def test_int8_without_photographs_is_refused_in_one_line(seeded_checkpoint, tmp_path):
    with pytest.raises(ExportError, match="precision 'int8' needs photos to calibrate on") as raised:
        export_bundle(load_checkpoint(seeded_checkpoint("conv4", "ridge")), tmp_path / "b.hmdrn", "int8")
    assert "\n" not in str(raised.value)


def test_the_fingerprint_depends_on_weights_and_preprocessing_alone(seeded_checkpoint):
    from hmdrn_export.bundle_writer.fingerprint import compute_fingerprint

    checkpoint = load_checkpoint(seeded_checkpoint("conv4", "ridge"))
    same = dataclasses.replace(load_checkpoint(seeded_checkpoint("conv4", "ridge")), sha256="other")
    assert compute_fingerprint(checkpoint.network, "crop") == compute_fingerprint(same.network, "crop")
    assert compute_fingerprint(checkpoint.network, "crop") != compute_fingerprint(
        checkpoint.network, "squash"
    )
    with torch.no_grad():
        same.network.heads["high"].alpha.add_(1e-6)
    assert compute_fingerprint(checkpoint.network, "crop") != compute_fingerprint(same.network, "crop")


def test_the_manifest_is_valid_json_with_a_digest_for_every_file(bundle):
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    files = {str(p.relative_to(bundle.path)) for p in bundle.path.rglob("*") if p.is_file()} - {
        "manifest.json"
    }
    assert set(manifest["files"]) == files


@pytest.mark.slow
def test_derived_variants_are_written_verified_and_described_beside_fp32(
    exported, seeded_checkpoint, tmp_path, untraced
):
    """A stand-in for INT8: the float32 graphs once more, under the names of its variants."""
    untraced(exported("conv4", "ridge"))

    def derive(bundle):
        assert "classify" in bundle.manifest.variants["fp32"], "derived from a whole bundle"
        names = ("enroll", "classify", "encode", "explain")
        copies = {v: {name: model_of(bundle, name) for name in names} for v in ("int8-ort", "int8-trt")}
        return exporter.DerivedVariants(copies, {"method": "none"})

    checkpoint = load_checkpoint(seeded_checkpoint("conv4", "ridge"))
    result = export_bundle(checkpoint, tmp_path / "b.hmdrn", "int8", derive=derive)
    assert result.executor.endswith("int8-ort")
    manifest = open_bundle(tmp_path / "b.hmdrn", "int8-ort").manifest
    assert set(manifest.variants) == set(manifest.verification) == {"fp32", "int8-ort", "int8-trt"}
    assert manifest.calibration == {"method": "none"}
    described = {name: manifest.variants[name]["classify"] for name in manifest.variants}
    assert {name: (g.precision, g.dialect, g.backends) for name, g in described.items()} == {
        "fp32": ("fp32", "onnx", ("onnxruntime",)),
        "int8-ort": ("int8", "onnxruntime", ("onnxruntime",)),
        "int8-trt": ("int8", "tensorrt", ("tensorrt",)),
    }
    assert manifest.variants["int8-trt"]["solve"].file == "graphs/fp32/solve.onnx"


@pytest.mark.slow
def test_derived_graphs_that_are_wrong_fail_verification_and_leave_nothing(
    exported, seeded_checkpoint, tmp_path, untraced
):
    untraced(exported("conv4", "ridge"))

    def derive(bundle):
        models = {name: model_of(bundle, name) for name in ("enroll", "classify", "encode", "explain")}
        for model in models.values():
            for weight in model.graph.initializer:
                if weight.name == "backbone.blocks.2.conv.weight":
                    halved = onnx.numpy_helper.to_array(weight) / 2
                    weight.CopyFrom(onnx.numpy_helper.from_array(halved, weight.name))
        return exporter.DerivedVariants({"int8-ort": models}, {})

    with pytest.raises(VerificationError, match=r"int8-ort bundle of .* differs from its network"):
        export_bundle(
            load_checkpoint(seeded_checkpoint("conv4", "ridge")), tmp_path / "b.hmdrn", "int8", derive=derive
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_efficientnet_lite_is_verified_in_float32_half_and_opset_17(
    exported, seeded_checkpoint, untraced, tmp_path
):
    path = tmp_path / "lite.hmdrn"
    untraced(exported("efficientnet-lite0", "ridge"))
    export_bundle(load_checkpoint(seeded_checkpoint("efficientnet-lite0", "ridge")), path, "fp16", opset=17)
    manifest = open_bundle(path, "fp32").manifest
    assert (manifest.input.size, [level.channels for level in manifest.network.levels]) == (64, [128, 64])
    assert set(manifest.verification) == {"fp32", "fp16", "fp32-opset17"}
    for variant in ("fp32", "fp32-opset17"):
        assert manifest.verification[variant]["distance_error"] < 1e-4
    rules = manifest.precision_rules["fp16"]
    precision = {name: rule["precision"] for rule in rules for name in rule.get("nodes", ())}
    for name in ("projections.mid.norm/Conv", "backbone.stem/Clip", "backbone.blocks.0.depthwise_norm/Conv"):
        assert precision[name] == "fp16"
