"""The Jetson page is a chain: its commands work one after the other, from a folder of photos on.

Engines are built and run over the stand-ins for TensorRT and CUDA; `NOT_RUN` lists what cannot run here.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import parse, run_command, run_line, split_lines
from fake_tensorrt import FakeCuda, fake_trt, make_plan
from fences import ROOT, iterate_blocks

import hmdrn
from hmdrn import loading
from hmdrn.cli.commands import build
from hmdrn.cli.commands.export import command as export_command
from hmdrn.cli.main import cli, run
from hmdrn_export.tensorrt import engines
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt import open as opening

PAGE = ROOT / "docs" / "jetson.md"
NOT_RUN = {
    "sudo": "changes the system of a Jetson",
    "python3 -m venv": "needs JetPack's packages",
    "source": "needs that environment",
    "python -c": "asks for JetPack's TensorRT and OpenCV",
    "pip wheel": "downloads",
    "rsync": "needs a second machine; the folder is that of both here",
    "hmdrn-export --precision int8": "minutes; tests/calibration/quantization/test_pipeline.py calibrates",
    "hmdrn-export --opset 17": "tests/export/graphs/test_opset17.py exports it",
    "hmdrn watch": "needs a camera on a CSI connector",
}
"""Starts of the commands that are not run here, each with the reason; hmdrn's are parsed."""

ENGINES = ("build", "keygen")
"""Verbs that run here alone; the others run as on every page."""


@pytest.fixture
def device(drawn, untraced, tmp_path, monkeypatch):
    """A device with TensorRT 10.3 and CUDA, whose current folder has photos and nothing else."""
    pytest.importorskip("tensorrt_rtx", reason="hmdrn-export --check-tensorrt needs NVIDIA's compiler")
    pytest.importorskip("cryptography", reason="signing needs the extra fleet")
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("species", "photos"):
        shutil.copytree(drawn / name, folder / name)
    shutil.copy(drawn / "a.jpg", folder)
    # Engines of the package's own model must not go into the package.
    shutil.copytree(loading.resolve_bundle("default"), tmp_path / "models" / "default.hmdrn")
    untraced(tmp_path / "models" / "default.hmdrn")
    monkeypatch.setattr(loading, "_MODELS", tmp_path / "models")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(folder)
    cuda = FakeCuda()
    trt = fake_trt(cuda, "10.3.0")
    for module in (build, opening):
        monkeypatch.setattr(module, "find_gpu", lambda: Gpu("Orin (nvgpu)", "8.7", 16))
        monkeypatch.setattr(module, "import_tensorrt", lambda: trt)
        monkeypatch.setattr(module, "find_cuda", lambda: [lambda: cuda])
    plan = lambda graph: make_plan(graph, {"batch": 8, "classes": 64})  # noqa: E731
    monkeypatch.setattr(
        engines, "build_engine", lambda trt, graph, *_: SimpleNamespace(plan=plan(graph), timing_cache=b"")
    )
    return folder


def find_reason(line):
    return next((reason for start, reason in NOT_RUN.items() if line.startswith(start)), None)


def test_what_is_not_run_is_on_the_page():
    blocks = [block for block in iterate_blocks(PAGE) if block.language == "sh"]
    lines = [line for block in blocks for line in split_lines(block.text)]
    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in lines)] == []
    programs = {line.split()[0] for line in lines if find_reason(line) is None}
    assert programs == {"hmdrn", "hmdrn-export", "pip", "export"}


@pytest.mark.slow
def test_the_commands_of_the_page_work_one_after_the_other(device, tmp_path, monkeypatch):
    names: dict = {}
    for block in iterate_blocks(PAGE):
        if block.argument.startswith("another Jetson"):
            monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
            with pytest.raises(hmdrn.BackendError, match="not built here"):
                hmdrn.load("birds.hmdrn", backend="tensorrt")
        if block.language == "python":
            exec(compile("\n" * block.line + block.text, str(PAGE), "exec"), names)
            report = names["birds"].backend_report
            assert (report.backend, report.variant) == ("tensorrt", "fp16")
        for line in split_lines(block.text) if block.language == "sh" else ():
            run_page_line(line, device, monkeypatch)
    assert hmdrn.load("birds.hmdrn").backend_report.backend == "tensorrt"


def run_page_line(line, folder, monkeypatch):
    words = shlex.split(line, comments=True)
    if find_reason(line) is not None:
        if words[0] in ("hmdrn", "hmdrn-export"):
            parse(words)
    elif words[0] == "export":
        name, _, path = words[1].partition("=")
        monkeypatch.setenv(name, str(folder / Path(path).name))
    elif words[0] == "hmdrn-export" or words[1] in ENGINES:
        code = run(cli if words[0] == "hmdrn" else export_command, words[0], words[1:])
        assert code == 0, f"{line} ended with {code}"
    elif words[0] == "hmdrn":
        run_command(words)
    else:
        run_line(line, folder)
