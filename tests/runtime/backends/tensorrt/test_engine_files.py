"""Engines are refused, with the reason, before anything deserializes them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import pytest
from fake_tensorrt import FakeCuda, fake_trt

from hmdrn.loading import load, resolve_bundle
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt import open as opening
from hmdrn_runtime.backends.tensorrt.engine_files import FINGERPRINT, find_engines
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform, select_digests
from hmdrn_runtime.backends.tensorrt.trust import locate_trust_folder, trust
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, open_bundle
from hmdrn_runtime.errors import BackendError

HERE = Platform("Orin (nvgpu)", "8.7", "tensorrt 10.3.0", "R36 (release), REVISION: 4.3")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "hmdrn" / "engines"


@pytest.fixture
def built(tmp_path):
    """A bundle with engines built here; built(**changes): with another fingerprint, recorded as ours."""

    def make(recorded=True, **changes):
        path = tmp_path / "birds.hmdrn"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(resolve_bundle("default"), path)
        bundle = open_bundle(path)
        folder = path / "engines" / "orin"
        folder.mkdir(parents=True)
        plans = {name: f"native code of {name}".encode() for name in bundle.manifest.variants["fp32"]}
        for name, plan in plans.items():
            (folder / f"{name}.plan").write_bytes(plan)
        values = {
            "platform": HERE,
            "variant": "fp32",
            "precision": "fp32",
            "files": select_digests(bundle.manifest, "fp32"),
            "options": {"tf32": False},
            "plans": {name: hashlib.sha256(plan).hexdigest() for name, plan in plans.items()},
            "check": {"distance_error": 0.0},
            **changes,
        }
        text = Fingerprint(**values).to_json().encode()
        (folder / FINGERPRINT).write_bytes(text)
        if recorded:
            trust(text, folder)
        return bundle, folder

    return make


def refused(bundle, match, platform=HERE, trusted=False):
    with pytest.raises(BackendError, match=match) as caught:
        find_engines(bundle, platform, trusted)
    message = str(caught.value)
    assert "\n" not in message
    assert f"hmdrn build {bundle.path}" in message
    return message


def test_engines_that_were_built_here_are_found_with_their_bytes(built, state):
    bundle, folder = built()
    files = find_engines(bundle, HERE)
    assert files.folder == folder
    assert files.fingerprint.platform == HERE
    assert files.read_plan("solve") == b"native code of solve"
    (record,) = state.iterdir()
    assert record.name == hashlib.sha256((folder / FINGERPRINT).read_bytes()).hexdigest()
    assert record.read_text().strip() == str(folder.resolve())


@pytest.mark.parametrize(
    ("part", "value", "match"),
    [
        ("gpu", "NVIDIA RTX A2000", r"built for GPU Orin \(nvgpu\), here is NVIDIA RTX A2000"),
        ("compute_capability", "8.6", "built for compute capability 8.7, here is 8.6"),
        ("compiler", "tensorrt 10.13.3.9", "built for compiler tensorrt 10.3.0, here is tensorrt 10.13.3.9"),
        ("l4t", None, "built for L4T 36.4, here is none"),
    ],
)
def test_engines_for_another_device_are_refused_with_the_part_that_differs(built, part, value, match):
    bundle, _ = built()
    message = refused(bundle, match, dataclasses.replace(HERE, **{part: value}))
    assert message.count("built for") == 1


def test_engines_whose_fingerprint_was_made_to_fit_are_refused(built):
    bundle, folder = built()
    other = dataclasses.replace(HERE, gpu="NVIDIA RTX A2000")
    path = folder / FINGERPRINT
    path.write_text(path.read_text().replace(HERE.gpu, other.gpu))
    refused(bundle, f"not built here, or their {FINGERPRINT} was changed", other)


def test_one_changed_byte_of_any_engine_is_refused_trusted_or_not(built):
    for name in ("classify", "solve"):
        bundle, folder = built()
        path = folder / f"{name}.plan"
        plan = bytearray(path.read_bytes())
        plan[-1] ^= 1
        path.write_bytes(plan)
        for trusted in (False, True):
            refused(bundle, f"engine .*{name}.plan was changed or damaged: its SHA-256 is", trusted=trusted)


def test_an_engine_changed_after_opening_is_refused_when_it_is_read(built):
    bundle, folder = built()
    files = find_engines(bundle, HERE)
    (folder / "solve.plan").write_bytes(b"other native code")
    with pytest.raises(BackendError, match=r"solve.plan was changed or damaged"):
        files.read_plan("solve")


def test_engines_that_came_with_a_bundle_run_only_if_trusted(built):
    bundle, _ = built(recorded=False)
    refused(bundle, r"not built here.* native code.* trust_engines=True")
    assert find_engines(bundle, HERE, trusted=True).fingerprint.platform == HERE


def test_engines_of_graphs_or_weights_that_were_replaced_are_refused(built):
    bundle, _ = built()
    for name in ("graphs/fp32/solve.onnx", "graphs/fp32/constants.bin"):
        files = select_digests(bundle.manifest, "fp32")
        assert name in files
        changed, _ = built(files={**files, name: "0" * 64})
        refused(changed, f"built from a {name} that differs from the bundle's")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"options": {"tf32": True}}, "built with TF32"),
        ({"options": {}}, "built with TF32"),
        ({"variant": "fp16"}, "variant 'fp16', which the bundle does not have"),
        ({"plans": {"solve": "0" * 64}}, "it has engines for solve, not for classify"),
    ],
)
def test_engines_that_do_not_fit_the_bundle_are_refused(built, changes, match):
    bundle, _ = built(**changes)
    refused(bundle, match)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"format_version": 1}', b'{"format_version": 2, "gpu": 5}', b"\xff"]
)
def test_a_damaged_fingerprint_is_refused(built, content):
    bundle, folder = built()
    (folder / FINGERPRINT).write_bytes(content)
    refused(bundle, FINGERPRINT)


def test_a_missing_engine_and_a_missing_folder_are_reported(built):
    bundle, folder = built()
    (folder / "encode.plan").unlink()
    refused(bundle, "cannot read engine .*encode.plan")
    shutil.rmtree(folder.parent)
    refused(bundle, "no engines")


def test_the_engines_that_fit_are_chosen_among_several_devices(built):
    bundle, folder = built()
    other = folder.with_name("another")
    shutil.copytree(folder, other)
    values = json.loads((other / FINGERPRINT).read_text())
    (other / FINGERPRINT).write_text(json.dumps({**values, "gpu": "NVIDIA RTX A2000"}))
    assert find_engines(bundle, HERE).folder == folder


def test_a_bundle_with_a_lying_fingerprint_never_reaches_tensorrt(built, monkeypatch):
    """`hmdrn.load` as a whole, on a machine that has everything but valid engines."""

    class DeserializedError(Exception):
        pass

    class TensorRT:
        __name__, __version__ = "tensorrt", "10.3.0"

        def __getattr__(self, name):
            raise DeserializedError(name)

    bundle, folder = built()
    monkeypatch.setattr(opening, "find_gpu", lambda: Gpu(HERE.gpu, HERE.compute_capability))
    monkeypatch.setattr(opening, "import_tensorrt", TensorRT)
    monkeypatch.setattr(opening, "find_cuda", lambda: [FakeCuda])
    monkeypatch.setattr(opening, "detect_platform", lambda trt, gpu: HERE)
    with pytest.raises(DeserializedError):  # valid ones do reach it
        load(bundle.path, backend="tensorrt")
    values = json.loads((folder / FINGERPRINT).read_text())
    values["plans"]["solve"] = "0" * 64
    (folder / FINGERPRINT).write_text(json.dumps(values))
    with pytest.raises(BackendError, match=f"{FINGERPRINT} was changed"):
        load(bundle.path, backend="tensorrt")
    with pytest.raises(BackendError, match=r"solve.plan was changed or damaged"):
        load(bundle.path, backend="tensorrt", trust_engines=True)
    birds = load(bundle.path)
    assert birds.backend.name == "onnxruntime"
    assert f"{FINGERPRINT} was changed" in birds.backend_report.not_used["tensorrt"]
    assert (bundle.path / MANIFEST_NAME).is_file()


def test_engines_that_tensorrt_refuses_are_reported_with_its_message(built, monkeypatch):
    bundle, _ = built()
    trt = fake_trt(cuda := FakeCuda())
    monkeypatch.setattr(opening, "find_gpu", lambda: Gpu(HERE.gpu, HERE.compute_capability))
    monkeypatch.setattr(opening, "find_cuda", lambda: [lambda: cuda])
    monkeypatch.setattr(opening, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(opening, "detect_platform", lambda trt, gpu: HERE)
    for driverless, match in ((False, "Magic tag does not match"), (True, "TensorRT could not start")):
        trt.driverless = driverless
        birds = load(bundle.path)
        assert birds.backend.name == "onnxruntime"
        assert match in birds.backend_report.not_used["tensorrt"]
        with pytest.raises(BackendError, match=match):
            load(bundle.path, backend="tensorrt")


def test_engines_that_were_never_compared_are_refused_unless_trusted(built):
    bundle, folder = built(check=None)
    refused(bundle, r"were never compared with ONNX Runtime: build them again, or pass trust_engines=True")
    assert find_engines(bundle, HERE, trusted=True).folder == folder


def test_a_trust_record_that_cannot_be_written_says_what_to_do(built, tmp_path, monkeypatch):
    _, folder = built(recorded=False)
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    assert locate_trust_folder().parent.parent == blocked
    with pytest.raises(
        BackendError, match=r"cannot record in .*: without it they run with trust_engines=True"
    ):
        trust((folder / FINGERPRINT).read_bytes(), folder)
