from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest

from hmdrn_runtime.backends import onnxruntime as onnxruntime_backend
from hmdrn_runtime.backends import onnxruntime_cuda
from hmdrn_runtime.backends.base import ResidentArray
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.report import make_backend_report
from hmdrn_runtime.backends.selection import BACKENDS, open_backend
from hmdrn_runtime.backends.tensorrt import open as opening
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, open_bundle
from hmdrn_runtime.device.cpu_limits import count_cores
from hmdrn_runtime.errors import BackendError, BundleError
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def bundle(exported):
    return open_bundle(exported("conv4", "ridge"))


@pytest.fixture(scope="module")
def backend(bundle):
    return open_backend(bundle, threads=1)


@pytest.fixture(scope="module")
def pixels():
    return draw_specimens([0, 1], 1, size=84).reshape(-1, 84, 84, 3)


@pytest.fixture(scope="module")
def operator(bundle):
    return np.random.default_rng(0).random((3, bundle.manifest.network.packed), dtype=np.float32)


def refused(call, match):
    with pytest.raises(BackendError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("name", ["", "cuda", "ONNXRuntime", "onnx"])
def test_an_unknown_backend_is_refused_with_the_known_ones(bundle, name):
    message = refused(lambda: open_backend(bundle, name), f"unknown backend '{name}': choose one of ")
    assert all(known in message for known in BACKENDS)


@pytest.fixture
def gpu(monkeypatch):
    """Make ONNX Runtime see a GPU, with or without its provider: gpu(provider)."""

    def be(provider, missing=""):
        monkeypatch.setattr(onnxruntime_cuda, "find_gpu", lambda: Gpu("GPU", "8.6"))
        monkeypatch.setattr(onnxruntime_cuda, "read_cuda_version", lambda: "12.2")
        monkeypatch.setattr(onnxruntime_cuda, "preload_cuda_libraries", lambda: missing)
        if provider:
            monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])

    return be


def no_gpu():
    raise BackendError("no NVIDIA driver is installed")


@pytest.mark.parametrize("name", ["tensorrt", "onnxruntime-cuda"])
def test_a_gpu_backend_without_a_gpu_is_refused_and_says_what_to_do(bundle, name, monkeypatch):
    monkeypatch.setattr(onnxruntime_cuda, "find_gpu", no_gpu)
    monkeypatch.setattr(opening, "find_gpu", no_gpu)
    message = refused(
        lambda: open_backend(bundle, name), f"backend '{name}' cannot be used: no NVIDIA driver is installed"
    )
    assert message.endswith("; backend='auto' uses what is available")
    if name == "tensorrt" and importlib.util.find_spec("tensorrt") is None:
        assert "package 'tensorrt' is not installed" in message
        assert f"the bundle has no engines (run hmdrn build {bundle.path})" in message


def test_auto_reports_the_backends_it_rejected_and_why(bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime_cuda, "find_gpu", no_gpu)
    monkeypatch.setattr(opening, "find_gpu", no_gpu)
    report = make_backend_report(bundle, open_backend(bundle))
    assert report.backend == "onnxruntime"
    assert list(report.not_used) == ["tensorrt", "onnxruntime-cuda"]
    assert all("no NVIDIA driver" in reason for reason in report.not_used.values())
    assert "; not onnxruntime-cuda: no NVIDIA driver is installed" in str(report)
    assert make_backend_report(bundle, open_backend(bundle, "onnxruntime")).not_used == {}


def test_engines_that_do_not_run_are_an_issue_only_where_there_are_some(bundle, tmp_path):
    issue = {"tensorrt": "built for L4T 36.4, here is 36.5"}
    backend = SimpleNamespace(name="onnxruntime", rejected=issue, measured={})
    bundle = dataclasses.replace(bundle, path=tmp_path)
    assert make_backend_report(bundle, backend).engines_issue is None
    (tmp_path / "engines" / "orin").mkdir(parents=True)
    (tmp_path / "engines" / "orin" / "solve.plan").touch()
    assert make_backend_report(bundle, backend).engines_issue == "built for L4T 36.4, here is 36.5"
    backend.rejected = {}
    assert make_backend_report(bundle, backend).engines_issue is None


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this one has CUDA")
def test_an_onnxruntime_without_cuda_is_refused_with_what_to_install(bundle, gpu):
    gpu(provider=False)
    refused(lambda: open_backend(bundle, "onnxruntime-cuda"), "no CUDA provider: install onnxruntime-gpu")


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this one has CUDA")
@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize(
    ("missing", "cause"),
    [
        (
            "libcudnn.so.9",
            r"libraries of CUDA are missing \(libcudnn.so.9\): run pip",
        ),
        ("", r"it is built for CUDA .*, the driver serves up to 12\.2: update the driver"),
        (
            "lib.so: undefined symbol: cuNew",
            r"it is built for .*, the driver serves up to 12\.2 and has no cuNew: update",
        ),
    ],
)
def test_a_cuda_provider_that_does_not_load_is_refused_with_the_cause(bundle, gpu, missing, cause):
    gpu(
        provider=True, missing=missing
    )  # the session is a real one, which falls back to the CPU without an error
    refused(
        lambda: open_backend(bundle, "onnxruntime-cuda"),
        f"did not load its CUDA provider and would run on CPU.*: {cause}.* use backend='onnxruntime'",
    )
    backend = open_backend(bundle)
    assert backend.name == "onnxruntime"
    assert "did not load" in backend.rejected["onnxruntime-cuda"]


def test_libraries_are_loaded_before_the_first_session_and_missing_ones_listed(monkeypatch, capsys):
    def preload():
        for library in ("libcublasLt.so.12", "libcudnn.so.9"):
            print(f"Failed to load {library}: {library}: cannot open shared object file")
        print("Please follow the page")

    monkeypatch.setattr(ort, "preload_dlls", preload, raising=False)
    load = onnxruntime_cuda.preload_cuda_libraries.__wrapped__
    assert load() == "libcublasLt.so.12, libcudnn.so.9"
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    assert load() == ""
    monkeypatch.delattr(ort, "preload_dlls")
    assert load() == ""
    assert capsys.readouterr().out == ""


def test_the_cuda_provider_has_tf32_off_and_holds_placed_arrays(bundle, gpu, monkeypatch, operator):
    gpu(provider=True)
    requested, placed = [], []

    class Session:
        def __init__(self, path, options, providers):
            requested.append(providers)

        def get_providers(self):
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", lambda a, d, n: placed.append((d, n, a.shape)))
    backend = open_backend(bundle, "onnxruntime-cuda")
    assert requested == [[("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]]
    assert backend.place(operator).shape == operator.shape
    assert placed == [("cuda", 0, operator.shape)]
    backend.after_fork()
    refused(
        lambda: backend.place(operator), "CUDA does not work in a forked process: call hmdrn.load in each"
    )
    refused(lambda: backend.run("classify", {}), "CUDA does not work in a forked process")


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_threads_than_one_are_refused(bundle, threads):
    for name in ("auto", "onnxruntime"):
        refused(
            lambda name=name: open_backend(bundle, name, threads), f"threads is {threads}: give at least 1"
        )


@pytest.mark.parametrize("name", ["auto", "onnxruntime"])
def test_a_backend_runs_the_graphs_as_onnx_runtime_itself_does(bundle, name, pixels):
    backend = open_backend(bundle, name, threads=1)
    assert backend.name == "onnxruntime"
    session = ort.InferenceSession(str(bundle.graph_path("enroll")), providers=["CPUExecutionProvider"])
    expected = dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {"images": pixels}), strict=True)
    )
    outputs = backend.run("enroll", {"images": pixels})
    assert set(outputs) == set(expected) == {"support_gram", "query_gram"}
    for key, array in outputs.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected[key], rtol=1e-6, atol=1e-6 * np.abs(expected[key]).max())


def test_memory_that_loading_freed_is_returned_to_the_system(bundle, monkeypatch, pixels):
    returned = []
    monkeypatch.setattr(onnxruntime_backend, "release_freed_memory", lambda: returned.append(True))
    open_backend(bundle, threads=1).run("encode", {"images": pixels})
    assert returned == [True]


def test_a_c_library_without_a_way_to_return_memory_is_passed_over(monkeypatch):
    monkeypatch.setattr(onnxruntime_backend.ctypes, "CDLL", lambda name: object())
    onnxruntime_backend.release_freed_memory()


def test_the_number_of_threads_reaches_onnx_runtime(bundle, monkeypatch, pixels):
    seen = []
    session = ort.InferenceSession

    def spy(path, options, **rest):
        seen.append((options.intra_op_num_threads, rest["providers"]))
        return session(path, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", spy)
    open_backend(bundle, threads=2).run("encode", {"images": pixels})
    open_backend(bundle).run("encode", {"images": pixels})
    assert seen == [(2, ["CPUExecutionProvider"]), (count_cores(), ["CPUExecutionProvider"])]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes")
def test_no_thread_of_a_restricted_process_leaves_its_processors():
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two processors")
    script = """
import os, re, sys
from pathlib import Path
cpu = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, {cpu})
import hmdrn
birds = hmdrn.load("default", backend="onnxruntime")
birds.enroll("ant", hmdrn.draw_specimens([0], 2, size=84)[0])
for status in Path("/proc/self/task").glob("*/status"):
    allowed = re.search(r"Cpus_allowed_list:\\s*(.*)", status.read_text())[1]
    assert allowed == str(cpu), allowed
threads = len(os.listdir("/proc/self/task"))
birds.backend._get_session("encode")
assert len(os.listdir("/proc/self/task")) == threads, "a session has started threads"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_graph_is_loaded_once_and_only_when_it_is_asked_for(bundle, monkeypatch, pixels):
    loaded = []
    session = ort.InferenceSession
    monkeypatch.setattr(
        ort, "InferenceSession", lambda path, *a, **k: (loaded.append(path), session(path, *a, **k))[1]
    )
    backend = open_backend(bundle, threads=1)
    assert loaded == []
    for _ in range(3):
        backend.run("encode", {"images": pixels})
    assert loaded == [str(bundle.graph_path("encode"))]


def test_several_threads_at_once_load_a_graph_once_and_get_equal_answers(bundle, monkeypatch, pixels):
    loaded, answers = [], []
    session = ort.InferenceSession
    monkeypatch.setattr(
        ort, "InferenceSession", lambda path, *a, **k: (loaded.append(path), session(path, *a, **k))[1]
    )
    backend = open_backend(bundle, threads=1)
    start = threading.Barrier(4)

    def work():
        start.wait()
        answers.append(backend.run("encode", {"images": pixels})["query_gram"].tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 1
    assert len(answers) == 4
    assert len(set(answers)) == 1


def test_a_placed_array_gives_the_same_outputs_as_the_array_itself(backend, pixels, operator):
    placed = backend.place(operator)
    assert isinstance(placed, ResidentArray)
    assert placed.shape == operator.shape
    direct = backend.run("classify", {"images": pixels, "operator": operator})
    for _ in range(2):
        resident = backend.run("classify", {"images": pixels, "operator": placed})
        assert {name: a.tobytes() for name, a in resident.items()} == {
            name: a.tobytes() for name, a in direct.items()
        }


def test_changing_an_array_after_it_was_placed_changes_nothing(backend, pixels, operator):
    mine = operator.copy()
    placed = backend.place(mine)
    before = backend.run("classify", {"images": pixels, "operator": placed})["logits"].copy()
    mine[:] = 0
    after = backend.run("classify", {"images": pixels, "operator": placed})["logits"]
    np.testing.assert_array_equal(after, before)
    assert np.abs(before).min() > 0


def test_a_placed_array_outlives_its_source(backend, pixels, operator):
    placed = backend.place(operator.copy())
    expected = backend.run("classify", {"images": pixels, "operator": operator})["logits"]
    # Later allocations would overwrite memory that was freed.
    _litter = [np.full(operator.shape, np.nan, np.float32) for _ in range(20)]
    logits = backend.run("classify", {"images": pixels, "operator": placed})["logits"]
    np.testing.assert_array_equal(logits, expected)


def test_outputs_of_one_call_are_not_touched_by_the_next(backend, pixels):
    first = backend.run("encode", {"images": pixels})["query_gram"]
    copy = first.copy()
    backend.run("encode", {"images": 255 - pixels})
    np.testing.assert_array_equal(first, copy)


def test_arrays_in_any_layout_are_read_as_what_they_hold(backend, pixels, operator):
    expected = backend.run("classify", {"images": pixels, "operator": operator})["logits"]
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])[:, :, ::-1]
    fortran = np.asfortranarray(operator)
    assert not mirrored.flags.c_contiguous
    assert not fortran.flags.c_contiguous
    np.testing.assert_array_equal(
        backend.run("classify", {"images": mirrored, "operator": fortran})["logits"], expected
    )
    np.testing.assert_array_equal(
        backend.run("classify", {"images": mirrored, "operator": backend.place(fortran)})["logits"], expected
    )


@pytest.mark.parametrize("photos", [1, 3])
@pytest.mark.parametrize("classes", [1, 4])
def test_photos_and_classes_may_be_of_any_number(backend, bundle, photos, classes):
    images = np.zeros((photos, 84, 84, 3), np.uint8)
    operators = np.ones((classes, bundle.manifest.network.packed), np.float32)
    outputs = backend.run("classify", {"images": images, "operator": operators})
    assert {name: a.shape for name, a in outputs.items()} == dict.fromkeys(
        ("distance_high", "distance_mid", "logits"), (photos, classes)
    )


@pytest.mark.parametrize(
    "inputs",
    [
        {"images": np.zeros((1, 84, 80, 3), np.uint8)},
        {"images": np.zeros((84, 84, 3), np.uint8)},
        {"images": np.zeros((1, 3, 84, 84), np.uint8)},
        {"images": np.zeros((1, 84, 84, 3), np.float32)},
        {"images": np.zeros((1, 84, 84, 3), np.int8)},
        {"pictures": np.zeros((1, 84, 84, 3), np.uint8)},
        {},
    ],
    ids=["height", "no batch", "channels first", "float", "signed", "name", "nothing"],
)
def test_inputs_that_a_graph_cannot_take_are_refused_in_one_line(backend, inputs):
    refused(lambda: backend.run("encode", inputs), "ONNX Runtime could not run graph 'encode': .")


def test_a_superfluous_input_is_refused_in_one_line(backend, pixels, operator):
    refused(
        lambda: backend.run("encode", {"images": pixels, "operator": operator}),
        "ONNX Runtime could not run graph 'encode'",
    )


def test_operators_of_another_width_are_refused_in_one_line(backend, pixels, operator):
    refused(
        lambda: backend.run("classify", {"images": pixels, "operator": operator[:, :-1]}),
        "ONNX Runtime could not run graph 'classify'",
    )


def test_an_input_of_objects_is_refused_as_an_error_of_the_backend(backend):
    for call in (
        lambda: backend.run("encode", {"images": np.array([None])}),
        lambda: backend.place(np.array([None])),
    ):
        refused(call, "ONNX Runtime")


def test_a_refused_call_does_not_harm_the_next(backend, pixels):
    expected = backend.run("encode", {"images": pixels})["query_gram"]
    with pytest.raises(BackendError):
        backend.run("encode", {"images": pixels[:, 1:]})
    np.testing.assert_array_equal(backend.run("encode", {"images": pixels})["query_gram"], expected)


def test_a_graph_that_a_bundle_lacks_is_refused_with_those_it_has(backend):
    with pytest.raises(BundleError, match="no graph 'train' in variant 'fp32': it has classify, encode"):
        backend.run("train", {})


@pytest.mark.parametrize("content", [b"", b"no graph at all", b"\x08\x0a" * 500])
def test_a_graph_that_onnx_runtime_cannot_load_is_named_in_one_line(bundle, tmp_path, content):
    folder = tmp_path / "copy.hmdrn"
    shutil.copytree(bundle.path, folder)
    name = bundle.graph("encode").file
    (folder / name).write_bytes(content)
    # With matching digest and checksum, as a faulty exporter would leave it.
    values = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    values["files"][name] = hashlib.sha256(content).hexdigest()
    del values["sha256"]
    for _ in range(2):
        text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        values.setdefault("sha256", hashlib.sha256(text.encode()).hexdigest())
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    backend = open_backend(open_bundle(folder), threads=1)
    message = refused(
        lambda: backend.run("encode", {"images": np.zeros((1, 84, 84, 3), np.uint8)}), "could not load"
    )
    assert str(folder / name) in message
