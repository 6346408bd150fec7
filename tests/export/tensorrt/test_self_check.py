"""New engines are compared with ONNX Runtime, and wrong ones are never kept."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
from fake_tensorrt import FakeCuda, fake_trt, make_plan

from hmdrn_export.tensorrt import engines
from hmdrn_export.tensorrt.builder import BuildOptions
from hmdrn_export.tensorrt.engines import build_engines
from hmdrn_export.tensorrt.self_check import check_engines
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.backends.tensorrt.backend import TensorRTBackend
from hmdrn_runtime.backends.tensorrt.engine_files import find_engines
from hmdrn_runtime.backends.tensorrt.fingerprint import detect_platform
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError

ORIN = Gpu("Orin (nvgpu)", "8.7")
FIGURES = {
    "scaled": r"outputs differ by 0\.05",
    "nan": "outputs differ by nan",
    "swapped": r"outputs differ by \d",
}


@pytest.fixture
def bundle(written, tmp_path, monkeypatch):
    """A bundle of its own at float32, which also has half graphs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "b.hmdrn"
    shutil.copytree(written("conv4", "ridge", "fp32").path, path)
    return open_bundle(path)


@pytest.fixture
def build(bundle, monkeypatch):
    """Build engines of the stand-in, wrong in a way by precision: build(fp16="scaled")."""
    cuda = FakeCuda()
    trt = fake_trt(cuda, "10.13.0")

    def run(**wrong):
        def compile_graph(trt, path, shapes, options, report):
            precision = "fp16" if path.parent.name == "fp16" else "fp32"
            plan = make_plan(path, {"batch": 8, "classes": 20}, wrong=wrong.get(precision, ""))
            return SimpleNamespace(plan=plan, timing_cache=b"")

        monkeypatch.setattr(engines, "build_engine", compile_graph)
        return build_engines(
            trt,
            bundle,
            ORIN,
            BuildOptions(),
            open_backend=lambda opened, files: TensorRTBackend(opened, files, trt, cuda),
        )

    return SimpleNamespace(run=run, cuda=cuda, platform=detect_platform(trt, ORIN))


def test_onnx_runtime_agrees_with_itself(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    check = check_engines(bundle, OnnxRuntimeBackend(bundle, threads=1), "fp32")
    assert (check.output_error, check.distance_error, check.mask_bits_differing) == (0.0, 0.0, 0.0)
    assert check.top1_agreement == 100.0


def test_right_engines_are_kept_with_the_figures_of_their_check(build, bundle):
    folder = build.run()
    fingerprint = find_engines(bundle, build.platform).fingerprint
    assert fingerprint.precision == "fp16"
    assert fingerprint.check["rejected"] == {}
    assert 0 < fingerprint.check["distance_error"] < 0.02
    assert json.loads((folder / "fingerprint.json").read_text())["check"] == fingerprint.check


@pytest.mark.parametrize("wrong", FIGURES)
def test_wrong_half_engines_give_way_to_float32_ones_with_the_reason(build, bundle, wrong):
    build.run(fp16=wrong)
    fingerprint = find_engines(bundle, build.platform).fingerprint
    assert fingerprint.precision == "fp32"
    with pytest.raises(BackendError, match=FIGURES[wrong]):
        raise BackendError(fingerprint.check["rejected"]["fp16"])


@pytest.mark.parametrize("wrong", FIGURES)
def test_where_all_engines_are_wrong_none_is_kept(build, bundle, wrong):
    with pytest.raises(BackendError, match=f"tensorrt 10.13.0 builds wrong engines .*fp32: {FIGURES[wrong]}"):
        build.run(fp16=wrong, fp32=wrong)
    assert not (bundle.path / "engines").exists()
    with pytest.raises(BackendError, match="the bundle has no engines"):
        find_engines(bundle, build.platform)


def test_engines_that_cannot_run_are_not_kept_either(build, bundle):
    build.cuda.full = True
    with pytest.raises(BackendError, match=r"builds wrong engines .*make an execution context"):
        build.run()
    assert not (bundle.path / "engines").exists()
