"""The real onnxruntime-gpu with pip's CUDA libraries, over the stand-in driver, which is too old for it.

They take 2.5 GB: with HMDRN_ORT_GPU=1 the test installs them, or that variable names a folder that has them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stub_driver import compile_stub, run_over_stub

OPEN = """
import sys
import onnxruntime
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError
if sys.argv[1] == "bare":
    del onnxruntime.preload_dlls
try:
    open_backend(open_bundle(resolve_bundle("default")), "onnxruntime-cuda")
except BackendError as error:
    print(error)
"""


@pytest.fixture(scope="session")
def wheel(once):
    wanted = os.environ.get("HMDRN_ORT_GPU")
    if not wanted:
        pytest.skip("HMDRN_ORT_GPU is not set: onnxruntime-gpu and its libraries take 2.5 GB")
    if wanted != "1":
        return Path(wanted)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "onnxruntime-gpu[cuda,cudnn]", "--target"]
    return once("onnxruntime-gpu", lambda folder: subprocess.run([*install, folder], check=True))


@pytest.mark.parametrize(
    ("libraries", "cause"),
    [
        ("preloaded", "the driver serves up to 13.0 and has no cu"),
        ("bare", "libraries of CUDA are missing (libcu"),
    ],
)
def test_missing_libraries_and_an_old_driver_have_messages_of_their_own(wheel, once, libraries, cause):
    stub = once("cuda-stub-13000", compile_stub)
    process = run_over_stub(stub, "none", wheel, ["-c", OPEN, libraries])
    assert "onnxruntime-gpu did not load its CUDA provider" in process.stdout, process.stderr
    assert cause in process.stdout


def test_a_missing_driver_is_reported_as_such(wheel, tmp_path):
    process = run_over_stub(tmp_path, "none", wheel, ["-c", OPEN, "preloaded"])
    if "no NVIDIA driver is installed" not in process.stdout:
        assert Path("/proc/driver/nvidia").exists(), process.stdout + process.stderr
