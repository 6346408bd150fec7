"""`hmdrn build` where there is nothing to build for, and the option that checks without a GPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from types import SimpleNamespace

import pytest
from fake_tensorrt import FakeCuda, fake_trt, make_plan, open_reference
from gallery_files import photo

from hmdrn.cli.commands import build
from hmdrn.loading import resolve_bundle
from hmdrn_export.tensorrt import engines, self_check
from hmdrn_export.tensorrt.engines import build_engines as real_build_engines
from hmdrn_export.tensorrt.profiles import ShapeBounds
from hmdrn_export.tensorrt.self_check import EngineCheck
from hmdrn_runtime.backends.cuda_driver import Gpu, find_gpu
from hmdrn_runtime.backends.tensorrt import open as opening
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError, GraphRefusedError
from hmdrn_runtime.gallery.file import save_gallery
from hmdrn_runtime.gallery.gallery import Gallery


@pytest.fixture
def no_gpu():
    try:
        find_gpu()
    except BackendError:
        return
    pytest.skip("this machine has a GPU")


def test_build_without_a_gpu_says_what_is_missing_and_what_to_do(hmdrn, no_gpu):
    done = hmdrn("build", "default")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "NVIDIA" in done.err
    assert "Run hmdrn build on the device" in done.err
    if importlib.util.find_spec("tensorrt") is None:
        assert "package 'tensorrt' is not installed" in done.err


def test_an_export_for_tensorrt_says_the_same_before_it_exports_anything(hmdrn, no_gpu, tmp_path):
    done = hmdrn("export", "--target", "tensorrt", "--output", tmp_path / "b.hmdrn")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot build engines here" in done.err
    assert not (tmp_path / "b.hmdrn").exists()


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime-cuda"])
def test_a_backend_that_needs_a_gpu_ends_with_one_line_and_exit_code_2(
    hmdrn, no_gpu, backend, photo, tmp_path
):
    gallery = tmp_path / "g.gallery"
    for command in (("classify", "default", photo()), ("enroll", "default", photo("s/a.png").parent.parent)):
        done = hmdrn(*command, "--gallery", gallery, "--backend", backend)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert f"backend '{backend}' cannot be used: " in done.err
        assert "NVIDIA driver" in done.err
    assert not gallery.exists()


def test_the_backends_of_the_command_line_are_those_of_the_runtime():
    from hmdrn.cli.commands.classify import command
    from hmdrn_runtime.backends.selection import BACKENDS

    (option,) = [parameter for parameter in command.params if parameter.name == "backend"]
    assert tuple(option.type.choices) == BACKENDS


RIGHT = EngineCheck(0.0, 0.0, 0.0, 100.0, accuracy=80.0, reference_accuracy=80.0)
TENSORRT = SimpleNamespace(__name__="tensorrt", __version__="10.3.0")


@pytest.fixture
def device(monkeypatch, tmp_path):
    """A stand-in for a device: `engines` are those that run, None if none do; `built` counts the builds.

    `record` writes their fingerprint with changes.
    """
    state = SimpleNamespace(engines=None, built=0, folder=tmp_path / "engines")
    state.folder.mkdir()

    def record(**changes):
        platform = Platform("Orin (nvgpu)", "8.7", "tensorrt 10.3.0", None)
        fingerprint = dataclasses.replace(Fingerprint(platform, "fp32", "fp32", {}, {}, {}), **changes)
        (state.folder / "fingerprint.json").write_text(fingerprint.to_json())

    state.record = record
    record()

    def open_tensorrt(bundle):
        if state.engines is None:
            raise BackendError("built for L4T 36.4, here is 36.5")
        return bundle, SimpleNamespace(folder=state.engines, close=lambda: None)

    def build_engines(*arguments):
        state.built += 1
        return state.folder

    monkeypatch.setattr(build, "find_gpu", lambda: Gpu("Orin (nvgpu)", "8.7"))
    monkeypatch.setattr(build, "require_device", lambda: (Gpu("Orin (nvgpu)", "8.7"), TENSORRT))
    monkeypatch.setattr(opening, "open_tensorrt", open_tensorrt)
    monkeypatch.setattr(opening, "make_engine_opener", lambda trt: lambda *_: None)
    monkeypatch.setattr(engines, "build_engines", build_engines)
    return state


def test_build_if_needed_builds_only_where_no_engines_run(hmdrn, device):
    done = hmdrn("build", "default", "--if-needed")
    assert (done.code, device.built) == (0, 1)
    assert "engines are needed: built for L4T 36.4, here is 36.5" in done.err
    device.engines = device.folder
    done = hmdrn("build", "default", "--if-needed")
    assert (done.code, done.err, device.built) == (0, "", 1)
    assert done.out == f"the engines in {device.folder} run here\n"
    assert json.loads(hmdrn("build", "default", "--if-needed", "--json").out)["built"] is False
    assert json.loads(hmdrn("build", "default", "--json").out)["built"] is True
    assert device.built == 2


def test_a_build_that_failed_is_not_repeated_until_something_changes(hmdrn, device, tmp_path, monkeypatch):
    graphs = []

    def refuse(trt, graph, *_):
        graphs.append(graph)
        raise GraphRefusedError("tensorrt could not compile it: no implementation")

    monkeypatch.setattr(engines, "build_engines", real_build_engines)
    monkeypatch.setattr(engines, "build_engine", refuse)
    path = tmp_path / "b.hmdrn"
    shutil.copytree(resolve_bundle("default"), path)
    first = hmdrn("build", path, "--if-needed")
    assert (first.code, len(graphs)) == (2, 2)  # strongly typed, then weakly
    again = hmdrn("build", path, "--if-needed")
    assert (again.code, again.err.count("\n"), len(graphs)) == (0, 1, 2)
    assert "nothing has changed since tensorrt 10.3.0 builds no right engines" in again.err
    assert f"hmdrn build {path} tries again" in again.err
    assert (hmdrn("build", path).code, len(graphs)) == (2, 4)
    monkeypatch.setattr(TENSORRT, "__version__", "10.13.0")
    assert (hmdrn("build", path, "--if-needed").code, len(graphs)) == (2, 6)
    monkeypatch.setattr(engines, "build_engine", lambda *_: SimpleNamespace(plan=b"plan", timing_cache=b""))
    monkeypatch.setattr(engines, "check_engines", lambda *_: RIGHT)
    assert hmdrn("build", path).code == 0
    assert not list(path.rglob("refusal.json"))


def test_a_gallery_sets_the_number_of_classes_that_engines_are_quickest_for(
    hmdrn, device, tmp_path, monkeypatch
):
    gallery, built = Gallery(open_bundle(resolve_bundle("default")).manifest.network), []
    for number in range(20):
        gallery.add(f"species {number}", [photo(gallery.network, number)])
    save_gallery(gallery, path := tmp_path / "site7.gallery")
    monkeypatch.setattr(engines, "build_engines", lambda *arguments: built.append(arguments) or device.folder)
    for options in ([], ["--gallery", path], ["--gallery", path, "--classes", 24]):
        assert hmdrn("build", "default", *options).code == 0
    bounds = [value.classes for arguments in built for value in arguments if isinstance(value, ShapeBounds)]
    assert bounds == [(1, 256, 1000), (1, 32, 1000), (1, 24, 24)]


def test_build_if_needed_builds_again_for_a_gallery_of_another_padded_size(hmdrn, device, tmp_path):
    device.engines, path = device.folder, tmp_path / "site7.gallery"
    device.record(options={"bounds": dataclasses.asdict(ShapeBounds(classes=(1, 8, 1000)))})
    gallery = Gallery(open_bundle(resolve_bundle("default")).manifest.network)
    for species, builds in ((7, 0), (8, 0), (9, 1)):
        while len(gallery) < species:
            gallery.add(f"species {len(gallery)}", [photo(gallery.network, len(gallery))])
        save_gallery(gallery, path)
        done = hmdrn("build", "default", "--if-needed", "--gallery", path)
        assert (done.code, device.built) == (0, builds)
    assert "run here, but are quickest for 8 species, and the gallery needs 16" in done.err
    assert hmdrn("build", "default", "--if-needed").code == 0
    assert device.built == 1


@pytest.mark.parametrize(("compiler", "slow"), [("tensorrt 10.3.0", True), ("tensorrt 10.13.3.9", False)])
def test_a_build_says_where_int8_is_often_slower_than_half(device, compiler, slow):
    device.record(precision="int8", platform=Platform("Orin (nvgpu)", "8.7", compiler, None))
    described = build.describe_engines(device.folder, Gpu("Orin (nvgpu)", "8.7"))
    assert ("often slower than FP16 ones" in described) == slow


def test_build_if_needed_has_nothing_to_do_without_a_gpu(hmdrn, no_gpu):
    done = hmdrn("build", "default", "--if-needed")
    assert done.code == 0
    assert "there is nothing to build engines for: " in done.err


def test_keys_are_made_once_and_sign_engines(hmdrn, device, tmp_path):
    pytest.importorskip("cryptography", reason="needs cryptography: the extra fleet")
    key = tmp_path / "fleet.pem"
    assert hmdrn("keygen", key).code == 0
    assert hmdrn("keygen", key).err.count("exists already") == 1
    device.engines = device.folder
    assert hmdrn("build", "default", "--if-needed", "--sign", key).code == 0
    assert (device.folder / "signature.json").is_file()
    done = hmdrn("build", "default", "--sign", f"{key}.pub")
    assert (done.code, done.err.count("\n"), device.built) == (2, 1, 0)
    assert "is not a private Ed25519 key" in done.err


@pytest.mark.slow
def test_build_reports_the_check_and_the_engines_that_it_did_not_keep(
    hmdrn, written, tmp_path, monkeypatch, specimens
):
    cuda = FakeCuda()
    trt = fake_trt(cuda, "11.4.0")
    path = tmp_path / "b.hmdrn"
    shutil.copytree(written("conv4", "ridge", "fp32").path, path)

    def compile_graph(trt, graph, shapes, options, report):
        wrong = "scaled" if graph.parent.name == "fp16" else ""
        plan = make_plan(graph, {"batch": 8, "classes": 20}, wrong=wrong)
        return SimpleNamespace(plan=plan, timing_cache=b"")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(self_check, "SPECIES", 2)
    monkeypatch.setattr(self_check, "OnnxRuntimeBackend", open_reference)
    monkeypatch.setattr(engines, "build_engine", compile_graph)
    monkeypatch.setattr(build, "find_gpu", lambda: Gpu("Orin (nvgpu)", "8.7"))
    monkeypatch.setattr(build, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(build, "find_cuda", lambda: [lambda: cuda])
    monkeypatch.setattr(opening, "find_cuda", lambda: [lambda: cuda])
    done = hmdrn("build", path, "--photos", specimens)
    assert done.code == 0, done.err
    wrote, check, photographs, rejected = done.out.splitlines()
    assert photographs.startswith("on 12 photographs: distances differ by ")
    assert wrote.startswith(f"wrote {path}/engines/orin-nvgpu-sm8-7 for Orin")
    assert check.startswith("fp32 engines against ONNX Runtime: distances differ by ")
    assert rejected.startswith("not kept: fp16 engines, outputs differ by 0.05")


def test_an_accelerator_is_not_promised_where_its_compiler_is_missing(hmdrn, monkeypatch):
    monkeypatch.setattr(build, "has_dla_compiler", lambda: False)
    done = hmdrn("build", "default", "--dla", 0)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "libnvdla_compiler.so" in done.err


def test_build_of_no_bundle_says_so_before_it_looks_for_a_gpu(hmdrn, tmp_path):
    done = hmdrn("build", tmp_path / "no.hmdrn")
    assert done.code == 2
    assert "no bundle at" in done.err


def test_a_check_without_the_compiler_says_how_to_get_it(hmdrn, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "tensorrt_rtx" else find(name, *a)
    )
    done = hmdrn("export", "--check-tensorrt", "--output", tmp_path / "b.hmdrn")
    assert done.code == 2
    assert "'.[check]'" in done.err
    assert not (tmp_path / "b.hmdrn").exists()


def test_a_check_that_finds_something_ends_with_it_and_exit_code_3():
    from hmdrn.cli.commands.export import refuse_problems, show_checks
    from hmdrn_export.tensorrt.check import GraphCheck
    from hmdrn_runtime.errors import VerificationError

    checks = [
        GraphCheck("fp16", "enroll", 9, 8, 7, 6, 5, 0.5, ()),
        GraphCheck("fp16", "classify", 0, 0, 0, 0, 0, 0.0, ("no",)),
    ]
    show_checks(checks)
    with pytest.raises(VerificationError, match="fp16/classify: no") as raised:
        refuse_problems(checks)
    assert raised.value.exit_code == 3
    refuse_problems(checks[:1])
