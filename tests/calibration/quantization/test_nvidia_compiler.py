"""NVIDIA's own compiler, with no GPU, on the graphs that are made for it."""

from __future__ import annotations

import copy
import shutil

import onnx
import pytest

from hmdrn_calibration.quantization.histograms import Range
from hmdrn_calibration.quantization.layers import find_layers, load_photo_graphs
from hmdrn_calibration.quantization.qdq_placement import TRT, list_observed_tensors
from hmdrn_calibration.quantization.qdq_writer import quantize_graph
from hmdrn_export import exporter
from hmdrn_export.tensorrt.builder import BuildOptions, build_engine
from hmdrn_export.tensorrt.check import check_bundle, find_quantized_products
from hmdrn_export.tensorrt.profiles import default_bounds, profile_shapes
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, open_bundle
from hmdrn_runtime.errors import BackendError

pytestmark = pytest.mark.slow


@pytest.fixture
def compile_graph(default, tmp_path):
    """The types that each layer of a graph reads in its engine, by node."""
    compiler = pytest.importorskip("tensorrt_rtx")

    def build(name, model):
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, path)
        network = default.manifest.network
        sizes = profile_shapes(name, default.graph(name), network.levels, default_bounds(network))
        engine = build_engine(compiler, path, sizes, BuildOptions(targets=("SM86",)))
        kernels = [kernel for kernel in engine.layers if kernel.is_product]
        return {kernel.name.rpartition("_U")[0]: set(kernel.inputs) for kernel in kernels}

    return build


def test_every_layer_of_classify_reads_int8_and_nothing_else_does(default, calibrated, compile_graph):
    read = compile_graph("classify", calibrated.variants["int8-trt"]["classify"])
    layers = set(find_layers(load_photo_graphs(default)["classify"].graph))
    assert len(layers) == 28
    assert find_quantized_products(calibrated.variants["int8-trt"]["classify"], ()) == layers
    assert {node for node, types in read.items() if "Int8" in types} == layers
    assert all(read[node] == {"Int8"} for node in layers)
    assert read["gram.mid/MatMul_2"] == read["transformers.high.layers.1.attention/MatMul_3"] == {"Float"}


def test_enroll_compiles_with_its_convolutions_in_int8(calibrated, compile_graph):
    read = compile_graph("enroll", calibrated.variants["int8-trt"]["enroll"])
    convolutions = [types for node, types in read.items() if node.endswith("/Conv")]
    assert convolutions == [{"Int8"}] * 4


def test_a_pair_that_is_taken_away_is_seen(calibrated, compile_graph):
    model = onnx.ModelProto()
    model.CopyFrom(calibrated.variants["int8-trt"]["classify"])
    convolution = next(node for node in model.graph.node if node.name == "backbone.blocks.2.norm/Conv")
    convolution.input[0] = convolution.input[0].removesuffix("/dq")
    assert compile_graph("classify", model)["backbone.blocks.2.norm/Conv"] != {"Int8"}


@pytest.fixture
def checked(default, calibrated, tmp_path):
    """checked(change): what the check of a bundle says of its INT8 `classify`, changed by hand before."""
    compiler = pytest.importorskip("tensorrt_rtx")

    def check(change=lambda graph: None):
        path = tmp_path / "small.hmdrn"
        shutil.copytree(default.path, path)
        variants = {"int8-trt": copy.deepcopy({"classify": calibrated.variants["int8-trt"]["classify"]})}
        change(variants["int8-trt"]["classify"].graph)
        derived = exporter.DerivedVariants(variants, calibrated.report.to_dict())
        manifest = exporter.add_variants(path, default.manifest, derived)
        (path / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
        (found,) = check_bundle(compiler, open_bundle(path, "int8-trt"))
        return found

    return check


def test_the_check_of_a_bundle_finds_int8_as_it_should_be(checked):
    found = checked()
    assert found.problems == ()
    assert found.int8_products == 28
    assert found.half_products == 0
    assert found.float_products == 16


def test_the_check_of_a_bundle_finds_a_pair_that_was_taken_away(checked):
    def change(graph):
        convolution = next(node for node in graph.node if node.name == "backbone.blocks.2.norm/Conv")
        convolution.input[0] = convolution.input[0].removesuffix("/dq")

    problems = checked(change).problems
    assert any("backbone.blocks.2.norm/Conv" in problem for problem in problems), problems


@pytest.mark.parametrize(
    "backbone", ["conv4", pytest.param("resnet12", marks=pytest.mark.soak), "efficientnet-lite0"]
)
@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_every_graph_of_every_network_compiles_with_all_its_layers_in_int8(backbone, head, written, tmp_path):
    compiler = pytest.importorskip("tensorrt_rtx")
    source = written(backbone, head, "fp32")
    path = tmp_path / "int8.hmdrn"
    shutil.copytree(source.path, path)
    models = load_photo_graphs(source)
    # Where the ranges end is all the same to a compiler.
    ranges = {
        name: Range(-1.0, 1.0) for model in models.values() for name in list_observed_tensors(model.graph)
    }
    quantized = {name: quantize_graph(model, ranges, TRT) for name, model in models.items()}
    manifest = exporter.add_variants(
        path, source.manifest, exporter.DerivedVariants({"int8-trt": quantized}, {})
    )
    (path / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    checks = check_bundle(compiler, open_bundle(path, "int8-trt"))
    assert {check.graph for check in checks} == set(models)
    for check in checks:
        assert check.problems == ()
        assert check.int8_products >= len(set(find_layers(models[check.graph].graph)))


def test_the_placement_for_onnxruntime_is_refused(calibrated, compile_graph):
    with pytest.raises(BackendError):
        compile_graph("classify", calibrated.variants["int8-ort"]["classify"])
