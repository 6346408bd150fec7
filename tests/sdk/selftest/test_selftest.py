"""`hmdrn selftest`: no part ends the others, and the report can be sent in."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_tensorrt import FakeCuda, fake_trt, make_plan, open_reference

from hmdrn.cli.commands import selftest as command_module
from hmdrn.doctor.report import collect_report
from hmdrn.selftest import parts, selftest
from hmdrn.selftest.adapter import check_adapter
from hmdrn.selftest.page import format_page
from hmdrn.selftest.selftest import run_selftest
from hmdrn_export.tensorrt import engines, self_check
from hmdrn_runtime.backends import cuda_driver
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt import open as opening
from hmdrn_runtime.backends.tensorrt import requirements
from hmdrn_runtime.backends.tensorrt.cuda import find

ANSWERS = {
    "gpu": {"name": "Orin", "compute_capability": "8.7", "cuda": "12.6"},
    "package": {"version": "10.3.0"},
    "bindings": {"name": "cuda-python", "captures_graphs": True},
    "providers": {"version": "1.20", "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]},
    "provider": {"used": ["CUDAExecutionProvider", "CPUExecutionProvider"], "right": True},
    "choice": {
        "backend": "onnxruntime",
        "variant": "fp32",
        "variants": ["fp32"],
        "passed_over": {},
        "not_used": {},
    },
}
CHECK = {
    "output_error": 0.0,
    "distance_error": 1e-4,
    "mask_bits_differing": 0.0,
    "top1_agreement": 100.0,
    "accuracy": 80.0,
    "reference_accuracy": 81.25,
    "queries": 16,
    "photographs": None,
}
LATENCY = {"p50": 1.5, "p90": 2.25, "runs": 100}
RUN = {
    "checks": {"drawn specimens": CHECK},
    "latency": {"stages": {"network": LATENCY}, "total": LATENCY},
    "peak_mib": 210.4,
}


@pytest.fixture
def collect(tmp_path):
    """Collects the report of a device with everything, but for the changes of its probes' answers."""

    def make(**changes):
        answers = {**ANSWERS, **changes}
        report = collect_report("default", tmp_path, lambda what, *_: answers[what])
        tensorrt = changes.get("package", ANSWERS["package"])  # whether it is installed here or not
        return lambda bundle: replace(report, tensorrt=tensorrt)

    return make


@pytest.fixture(autouse=True)
def cuda_packages(monkeypatch):
    """One package for CUDA, whatever is installed here."""
    monkeypatch.setattr(selftest, "find_cuda", lambda: [SimpleNamespace(package="cuda-python")])


@pytest.fixture
def run_default(conv4):
    """Run the self-test of a bundle with FP32 graphs with a runner of probes: run_default(run, collect)."""
    return lambda run, collect, **options: run_selftest("conv4", conv4, run=run, collect=collect, **options)


def states(result):
    return {part.name: part.status for part in result.parts}


def test_a_part_that_crashes_is_reported_and_the_others_run(run_default, collect):
    def run(name, *arguments, **_):
        if name == "run" and arguments[1] == "onnxruntime-cuda":
            return {"error": "its process was ended by SIGSEGV"}
        return RUN if name == "run" else {"precision": "fp32"}

    result = run_default(run, collect())
    assert not result.works
    assert states(result) == {
        "device": "passed",
        "fp32 on onnxruntime": "passed",
        "fp32 on onnxruntime-cuda": "failed",
        "memory of the GPU through cuda-python": "passed",
        "building fp32 engines": "passed",
        "fp32 engines on tensorrt": "passed",
    }
    (failed,) = [part for part in result.parts if part.status == "failed"]
    assert failed.reason == "its process was ended by SIGSEGV"


def test_engines_that_cannot_be_built_are_not_run(run_default, collect):
    result = run_default(lambda name, *_, **__: {"error": "no"} if name == "build" else RUN, collect())
    assert states(result)["building fp32 engines"] == "failed"
    assert "fp32 engines on tensorrt" not in states(result)


NO_SPACE = OSError(28, "No space left on device", "/tmp/x")


@pytest.mark.parametrize("error", [NO_SPACE, shutil.Error([("a", "/tmp/x", str(NO_SPACE))] * 3)])
def test_a_bundle_that_cannot_be_copied_fails_as_a_part(run_default, collect, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(selftest.shutil, "copytree", fail)
    result = run_default(lambda *_, **__: RUN, collect())
    part = result.parts[-1]
    assert (part.name, part.status, result.works) == ("copying the bundle", "failed", False)
    assert part.reason.count("No space left on device") == 1
    assert states(result)["fp32 on onnxruntime"] == "passed"


def test_the_page_has_each_builds_check_and_the_row_for_the_hardware_table(run_default, collect):
    check = {**CHECK, "rejected": {"fp16": "strongly typed: outputs differ by 0.05"}}
    built = {"precision": "fp32", "compiler": "tensorrt 10.3.0", "check": check, "peak_mib": 900.0}
    answers = {"build": built, "run": RUN, "cuda": {}}
    result = run_default(lambda name, *_, **__: answers[name], collect())
    page = format_page(result.to_dict()).splitlines()
    assert (
        "| building fp32 engines | fp32, tensorrt 10.3.0 | 1.0e-04 | 0.00 | 100.0 "
        "| fp16: strongly typed: outputs differ by 0.05 |"
    ) in page
    row = page[-2].split(" | ")
    assert f"{result.device.cpu.model}, {result.device.cpu.cores} cores" in row[0]
    assert "GPU Orin, TensorRT 10.3.0" in row[0]
    assert row[1] == "fp32 on onnxruntime, fp32 on onnxruntime-cuda, fp32 engines on tensorrt"
    assert row[2].startswith("`hmdrn selftest conv4`, hmdrn ")
    assert row[2].endswith("failed: nothing |")


def test_engines_are_built_in_a_copy_and_recorded_nowhere_else(run_default, collect, conv4):
    calls = []

    def run(name, *arguments, module, timeout, environment):
        calls.append((name, arguments[0], environment["XDG_STATE_HOME"], module, timeout))
        return RUN

    run_default(run, collect())
    bundle = str(conv4)
    assert [call[:2] for call in calls[:2]] == [("run", bundle)] * 2
    assert calls[2][:2] == ("cuda", "cuda-python")
    build, engines_run = calls[3:]
    assert build[1] == engines_run[1] == f"{build[2]}/{conv4.name}"
    assert all(call[3] == "hmdrn.selftest.parts" and 0 < call[4] <= 300 for call in calls)


def test_what_is_not_there_is_skipped_and_what_is_broken_fails(run_default, collect):
    none = {"error": "no NVIDIA driver is installed"}
    here = run_default(lambda *_, **__: RUN, collect(gpu=none))
    assert here.works
    for part in ("tensorrt", "onnxruntime-cuda", "memory of the GPU"):
        assert states(here)[part] == "skipped"
    broken = run_default(
        lambda *_, **__: RUN, collect(provider={"used": [], "complaint": "libcudnn.so.9: cannot open"})
    )
    assert states(broken)["onnxruntime-cuda"] == "failed"
    assert states(broken)["device"] == "failed"  # the CPU's provider does not work either


def test_a_device_that_cannot_be_read_does_not_end_the_test(run_default):
    def fail(bundle):
        raise RuntimeError("no /proc")

    result = run_default(lambda *_, **__: RUN, fail)
    assert [(part.name, part.status) for part in result.parts[:2]] == [
        ("device", "failed"),
        ("fp32 on onnxruntime", "passed"),
    ]
    assert "no /proc" in result.parts[0].reason


def test_without_time_the_rest_is_skipped(run_default, collect, monkeypatch):
    monkeypatch.setattr(selftest, "MAX_SECONDS", 0.5)
    result = run_default(lambda *_, **__: pytest.fail("a part ran"), collect())
    assert set(states(result).values()) == {"passed", "skipped"}


def test_the_quick_test_builds_no_engines_and_runs_those_in_use(run_default, collect):
    run = lambda name, *_, **__: RUN if name != "build" else pytest.fail("an engine was built")  # noqa: E731
    assert states(run_default(run, collect(), quick=True))["tensorrt"] == "skipped"
    used = collect(choice={**ANSWERS["choice"], "backend": "tensorrt"})
    assert states(run_default(run, used, quick=True))["engines on tensorrt"] == "passed"


def test_the_report_is_written_as_json_and_page_without_private_names(
    hmdrn, collect, tmp_path, monkeypatch, run_default
):
    monkeypatch.setenv("USER", "zaphod")
    wrong = {**RUN, "problem": "on drawn specimens outputs differ by 0.05, says zaphod in /home/zaphod/x.so"}
    monkeypatch.setattr(
        command_module,
        "run_selftest",
        lambda name, path, photos, quick, report: run_default(
            lambda *_, **__: wrong, collect(gpu={"error": "no driver"})
        ),
    )
    done = hmdrn("selftest", "--output", tmp_path / "new" / "report")
    assert done.code == 2
    page = (tmp_path / "new/report/selftest.md").read_text()
    assert page == done.out
    values = json.loads((tmp_path / "new/report/selftest.json").read_text())
    assert (values["schema"], values["works"]) == ("hmdrn.selftest/1", False)
    assert "zaphod" not in page + json.dumps(values)
    assert "| fp32 on onnxruntime | failed |" in page
    assert "| fp32 on onnxruntime | drawn specimens | 16 | 80.0 | 81.2 | 100.0 | 1.0e-04 |" in page
    assert "| fp32 on onnxruntime | total | 1.50 | 2.25 | 100 |" in page
    assert "| fp32 on onnxruntime | 210 |" in page


def test_photos_that_are_not_there_end_it_before_any_part(hmdrn, tmp_path, monkeypatch):
    monkeypatch.setattr(command_module, "run_selftest", lambda *_: pytest.fail("a part ran"))
    done = hmdrn("selftest", "--photos", tmp_path / "missing")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "missing does not exist" in done.err


def test_a_run_reports_accuracy_agreement_and_latency(written):
    path = written("conv4", "ridge", "fp32").path
    answer = parts.run_part(str(path), "onnxruntime", "fp32", "", "quick")
    assert (answer["backend"], answer["precision"]) == ("onnxruntime", "fp32")
    check = answer["checks"]["drawn specimens"]
    assert check["accuracy"] == check["reference_accuracy"] >= 0
    assert (check["top1_agreement"], check["queries"]) == (100.0, 20)
    assert check["distance_error"] < 1e-5
    assert answer["latency"]["total"]["p50"] > 0
    assert "problem" not in answer


class WithoutGraphs(FakeCuda):
    package = "pycuda"

    def __init__(self):
        super().__init__(capturing=False)


class CopiesNothing(FakeCuda):
    package = "pycuda"

    def copy(self, target, source, size, stream):
        pass


class ReplaysNothing(FakeCuda):
    package = "pycuda"

    def launch(self, graph, stream):
        pass


def test_each_package_for_cuda_copies_without_tensorrt(monkeypatch):
    monkeypatch.setattr(find, "find_cuda", lambda: [SimpleNamespace(package="cuda-python"), WithoutGraphs])
    assert parts.check_package("pycuda") == {"package": "pycuda", "captures_graphs": False}


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(CopiesNothing, "copies and a captured graph"), (ReplaysNothing, "a captured graph")],
)
def test_other_bytes_than_those_sent_are_the_packages_problem(kind, wrong):
    cuda = kind()
    assert check_adapter(cuda)["problem"] == f"other bytes come back from {wrong}"
    assert (cuda.memory, cuda.pinned) == ({}, {})


@pytest.fixture
def stand_in(written, tmp_path, monkeypatch):
    """A bundle, and stand-ins for TensorRT and CUDA; stand_in(wrong) sets the half engines' wrongness."""
    cuda = FakeCuda()
    trt = fake_trt(cuda, "11.4.0")
    path = tmp_path / "b.hmdrn"
    shutil.copytree(written("conv4", "ridge", "fp32").path, path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for module in (cuda_driver, opening):
        monkeypatch.setattr(module, "find_gpu", lambda: Gpu("Orin", "8.7"))
    for module in (requirements, opening):
        monkeypatch.setattr(module, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(find, "find_cuda", lambda: [lambda: cuda])
    monkeypatch.setattr(opening, "find_cuda", lambda: [lambda: cuda])
    monkeypatch.setattr(self_check, "OnnxRuntimeBackend", open_reference)
    monkeypatch.setattr(self_check, "SPECIES", 2)  # wrong engines are wrong on few photos as well

    def prepare(wrong=""):
        def compile_graph(trt, graph, shapes, options, report):
            half = graph.parent.name == "fp16"
            plan = make_plan(graph, {"batch": 8, "classes": 20}, wrong=wrong if half else "")
            return SimpleNamespace(plan=plan, timing_cache=b"")

        monkeypatch.setattr(engines, "build_engine", compile_graph)
        return str(path)

    return prepare


def test_engines_of_each_precision_are_built_over_the_stand_in(stand_in):
    path = stand_in()
    for precision in ("fp16", "fp32"):
        answer = parts.build_part(path, precision, "")
        assert (answer["precision"], answer["compiler"]) == (precision, "tensorrt 11.4.0")
        assert math.isfinite(answer["check"]["distance_error"])
        assert answer["peak_mib"] > 10
        assert "problem" not in answer


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_engines_that_were_built_are_run_over_the_stand_in(stand_in, precision):
    path = stand_in()
    parts.build_part(path, precision, "")
    answer = parts.run_part(path, "tensorrt", "", "", "quick")
    assert (answer["backend"], answer["precision"]) == ("tensorrt", precision)
    assert answer["checks"]["drawn specimens"]["top1_agreement"] >= 95
    assert answer["latency"]["total"]["p50"] > 0
    assert "problem" not in answer


def test_wrong_half_engines_are_the_builds_problem(stand_in):
    answer = parts.build_part(stand_in("scaled"), "fp16", "")
    assert answer["precision"] == "fp32"
    assert answer["problem"].startswith("fp32 engines were built, not fp16: outputs differ by 0.05")
