"""Engines of a bundle, built here by the compiler that needs no GPU; and the sizes that they are for."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from hmdrn_export.tensorrt.builder import BuildOptions
from hmdrn_export.tensorrt.engines import build_engines
from hmdrn_export.tensorrt.profiles import ShapeBounds, default_bounds, profile_shapes
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt.engine_files import find_engines
from hmdrn_runtime.backends.tensorrt.fingerprint import detect_platform
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError, ExportError

ORIN = Gpu("Orin (nvgpu)", "8.7")


@pytest.mark.slow
def test_a_bundle_gets_a_plan_for_every_graph_and_a_fingerprint(written, compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "b.hmdrn"
    shutil.copytree(written("conv4", "ridge", "fp32").path, path)
    bundle, steps = open_bundle(path), []
    options = BuildOptions(targets=("SM86",))
    folder = build_engines(compiler, bundle, ORIN, options, lambda step, done, total: steps.append(step))
    assert folder == path / "engines" / "orin-nvgpu-sm8-7"
    fingerprint = json.loads((folder / "fingerprint.json").read_text())
    assert (fingerprint["gpu"], fingerprint["compute_capability"]) == ("Orin (nvgpu)", "8.7")
    assert fingerprint["variant"] == "fp16"
    assert fingerprint["options"]["tf32"] is False
    graphs = bundle.manifest.variants["fp16"]
    assert set(fingerprint["plans"]) == set(graphs)
    for name in (graphs["classify"].file, graphs["solve"].file, "graphs/fp16/constants.bin"):
        assert fingerprint["files"][name] == bundle.manifest.files[name]
    assert "building fp16/classify" in steps
    opened = open_bundle(path)  # engines are beside what the manifest vouches for
    here = detect_platform(compiler, ORIN)
    found = find_engines(opened, here, trusted=True)
    assert found.fingerprint.result_variant == "fp16"
    assert len(found.read_plan("classify")) > 10_000
    with pytest.raises(BackendError, match=r"built for compiler tensorrt_rtx .*, here is tensorrt_rtx 2"):
        find_engines(opened, dataclasses.replace(here, compiler="tensorrt_rtx 2.0"))
    plan = bytearray((folder / "solve.plan").read_bytes())
    plan[len(plan) // 2] ^= 1
    (folder / "solve.plan").write_bytes(plan)
    with pytest.raises(BackendError, match=r"solve.plan was changed or damaged"):
        find_engines(opened, here, trusted=True)


class _OldTensorRT:
    __name__, __version__ = "tensorrt", "8.6.1"


def test_a_version_that_cannot_read_the_graphs_is_refused_at_once(written):
    with pytest.raises(
        BackendError,
        match=r"tensorrt 8.6.1 reads ONNX opset 17, the bundle has 18: export it .* hmdrn-export --opset 17",
    ):
        build_engines(_OldTensorRT(), written("conv4", "ridge", "fp32"), ORIN, BuildOptions())


@pytest.mark.slow
def test_profiles_cover_batch_classes_and_the_tokens_of_all_shots(written):
    bundle = written("conv4", "attention", "fp32")
    network = bundle.manifest.network
    found = profile_shapes("classify", bundle.graph("classify"), network.levels, default_bounds(network))
    assert found["images"] == ((1, 84, 84, 3), (1, 84, 84, 3), (8, 84, 84, 3))
    assert found["k_mid"] == ((1, 100, 64), (5, 500, 64), (20, 1000, 64))
    ridge = written("conv4", "ridge", "fp32")
    network = ridge.manifest.network
    bounds = default_bounds(network)
    assert profile_shapes("solve", ridge.graph("solve"), network.levels, bounds)["shots"] == (
        (1,),
        (1,),
        (64,),
    )
    assert profile_shapes("classify", ridge.graph("classify"), network.levels, bounds)["operator"][2] == (
        1000,
        4160,
    )


@pytest.mark.parametrize(
    ("widths", "classes"),
    [((64, 64), 1000), ((128, 64), 1000), ((640, 320), 204), ((4096, 4096), 10)],
    ids=["conv4", "efficientnet-lite", "resnet12", "wider than any"],
)
def test_the_larger_an_operator_the_fewer_classes_an_engine_is_for(widths, classes, written):
    network = written("conv4", "ridge", "fp32").manifest.network
    levels = tuple(
        dataclasses.replace(level, channels=width)
        for level, width in zip(network.levels, widths, strict=True)
    )
    for statistics in ("gram", "tokens"):  # what a gallery keeps does not matter
        model = dataclasses.replace(network, levels=levels, statistics=statistics)
        assert default_bounds(model).classes == (1, 10, classes)


def test_bounds_out_of_order_are_refused():
    with pytest.raises(ExportError, match=r"classes is \(1, 10, 5\)"):
        ShapeBounds(classes=(1, 10, 5))
