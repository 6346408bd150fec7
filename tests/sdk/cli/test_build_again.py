"""`hmdrn build --if-needed` after a build that the device ended, which says nothing about the bundle."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
from fake_tensorrt import FakeCuda, fake_trt, make_plan

from hmdrn.cli.commands import build
from hmdrn.loading import resolve_bundle
from hmdrn_export.tensorrt import engines
from hmdrn_export.tensorrt.self_check import EngineCheck
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt import open as opening

ORIN = Gpu("Orin (nvgpu)", "8.7", 8)


def run_once(bundle, backend, *_):
    """Run one graph in place of the whole comparison."""
    side = bundle.manifest.input.size
    backend.run("encode", {"images": np.zeros((1, side, side, 3), np.uint8)})
    return EngineCheck(0.0, 0.0, 0.0, 100.0, accuracy=80.0, reference_accuracy=80.0)


def test_a_build_that_memory_ended_is_repeated_once_memory_is_free(hmdrn, tmp_path, monkeypatch):
    cuda = FakeCuda()
    trt = fake_trt(cuda, "10.3.0")

    def compile_graph(trt, graph, *_):
        return SimpleNamespace(plan=make_plan(graph, {"batch": 8, "classes": 64}), timing_cache=b"")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for module in (build, opening):
        monkeypatch.setattr(module, "find_gpu", lambda: ORIN)
        monkeypatch.setattr(module, "import_tensorrt", lambda: trt)
        monkeypatch.setattr(module, "find_cuda", lambda: [lambda: cuda])
    monkeypatch.setattr(engines, "build_engine", compile_graph)
    monkeypatch.setattr(engines, "check_engines", run_once)
    path = tmp_path / "b.hmdrn"
    shutil.copytree(resolve_bundle("default"), path)
    cuda.full = True
    failed = hmdrn("build", path, "--if-needed")
    assert (failed.code, failed.out) == (2, "")
    assert "could not make an execution context" in failed.err
    assert not list(path.glob("engines/*/*"))
    cuda.full = False
    assert hmdrn("build", path, "--if-needed").out.startswith("wrote ")
    assert "the engines in" in hmdrn("build", path, "--if-needed").out
