"""One wrong engine among right ones, in each of the ways, is refused with its figure."""

from __future__ import annotations

import hashlib

import pytest
from fake_tensorrt import FakeCuda, fake_trt, make_plan, open_reference

from hmdrn_export.tensorrt import self_check
from hmdrn_export.tensorrt.self_check import check_engines
from hmdrn_runtime.backends.tensorrt.backend import TensorRTBackend
from hmdrn_runtime.backends.tensorrt.engine_files import EngineFiles
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError

OUTPUTS, DISTANCES = "^outputs differ by ", "^distances differ by "
CASES = [
    ("enroll", "scaled", OUTPUTS + r"0\.05 "),
    ("enroll", "nan", OUTPUTS + "nan "),
    ("enroll", "swapped", r"^(outputs|distances) differ by \d"),
    ("encode", "scaled", OUTPUTS + r"0\.05 "),
    ("encode", "nan", OUTPUTS + "nan "),
    ("explain", "scaled", OUTPUTS + r"0\.05 "),
    ("explain", "nan", OUTPUTS + "nan "),
    ("solve", "scaled", DISTANCES + r"0\.0\d+ "),
    ("solve", "nan", r"do not: 'species 0' cannot be enrolled: .* \(residual nan, at most 0\.02\)$"),
    ("classify", "scaled", DISTANCES + r"0\.0\d+ "),
    ("classify", "nan", DISTANCES + "nan "),
    ("classify", "swapped", DISTANCES + r"\d"),
]


@pytest.fixture(scope="module")
def bundle(exported):
    return open_bundle(exported("conv4", "ridge"))


@pytest.fixture
def check(bundle, tmp_path, monkeypatch):
    """Check engines of the stand-in, of which one may be wrong: check(graph, wrong)."""
    for name, count in (("SPECIES", 2), ("SHOTS", 1), ("QUERIES", 2)):
        monkeypatch.setattr(self_check, name, count)
    monkeypatch.setattr(self_check, "OnnxRuntimeBackend", open_reference)

    def run(graph="", wrong=""):
        plans = {}
        for name in bundle.manifest.variants["fp32"]:
            sizes = {"batch": 8, "classes": 20}
            plan = make_plan(bundle.graph_path(name), sizes, wrong=wrong if name == graph else "")
            (tmp_path / f"{name}.plan").write_bytes(plan)
            plans[name] = hashlib.sha256(plan).hexdigest()
        here, cuda = Platform("stand-in", "0.0", "tensorrt 10.3.0", None), FakeCuda()
        files = EngineFiles(tmp_path, Fingerprint(here, "fp32", "fp32", {}, {"tf32": False}, plans))
        return check_engines(bundle, TensorRTBackend(bundle, files, fake_trt(cuda), cuda), "fp32")

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("graph", "wrong", "figure"), CASES)
def test_one_wrong_engine_is_refused_with_its_figure(check, graph, wrong, figure):
    with pytest.raises(BackendError, match=figure):
        check(graph, wrong)


def test_right_engines_of_all_graphs_pass_the_check(check, bundle):
    assert check().top1_agreement == 100.0
    assert {graph for graph, _, _ in CASES} == set(bundle.manifest.variants["fp32"])
