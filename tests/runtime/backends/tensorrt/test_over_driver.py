"""The real cuda-python and pycuda over a stand-in for the driver, each version in processes of its own.

The packages are this Python's, and those in the folders of $HMDRN_CUDA_PACKAGES, each filled by `pip install
--target`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from stub_driver import compile_stub, run_over_stub

CHECKS = Path(__file__).parent / "over_driver"
MODULES = {"cuda-python": "cuda.bindings", "pycuda": "pycuda"}
OPEN = """
import sys
from stub_driver import NOTHING, StubDriver, open_checked_cuda
from hmdrn_runtime.errors import BackendError
try:
    cuda = open_checked_cuda()
except BackendError as error:
    sys.exit(f"refused: {error}")
"""


def list_packages():
    """Return (package, folder) of every installation; the folder is None for this Python's own."""
    folders = [
        Path(folder) for folder in os.environ.get("HMDRN_CUDA_PACKAGES", "").split(os.pathsep) if folder
    ]
    given = [(package, folder) for folder in folders for package in MODULES if _is_in(folder, package)]
    return [*((package, None) for package in MODULES), *given]


def _is_in(folder, package):
    return folder.joinpath(*MODULES[package].split(".")).is_dir()


def _is_installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(
    params=list_packages(), ids=lambda given: f"{given[0]}-{given[1].name if given[1] else 'installed'}"
)
def package(request):
    name, folder = request.param
    if folder is None and not _is_installed(MODULES[name]):
        pytest.skip(f"{name} is not installed")
    return request.param


@pytest.fixture(scope="session")
def make_stub(once):
    return lambda version: once(f"cuda-stub-{version}", lambda folder: compile_stub(folder, version))


@pytest.fixture
def stub(make_stub):
    return make_stub(13000)


@pytest.mark.slow
def test_the_real_package_passes_the_checks(package, stub):
    checks = [str(path) for path in sorted(CHECKS.glob("check_*.py"))]
    options = ["-q", "-n0", "--noconftest", "-p", "backend_over_driver", "-p", "no:cacheprovider"]
    process = run_over_stub(stub, *package, ["-m", "pytest", *checks, *options])
    assert process.returncode == 0, process.stdout[-5000:] + process.stderr[-2000:]


def run_code(stub, package, code, **environment):
    return run_over_stub(stub, *package, ["-c", OPEN + code], **environment)


def test_a_process_that_closed_nothing_ends_without_a_word(package, stub):
    code = "with cuda.current():\n    stream, memory = cuda.create_stream(), cuda.allocate(100)"
    process = run_code(stub, package, code)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


@pytest.mark.parametrize("version", [11030, 12000])
def test_a_driver_older_than_the_package_serves_without_what_it_lacks(package, make_stub, version):
    code = """
with cuda.current():
    stream = cuda.create_stream()
    print(cuda.captures_graphs, cuda.capture(stream, lambda: None) is not None)
    cuda.free(cuda.allocate(100))
    cuda.destroy_stream(stream)
"""
    process = run_code(make_stub(version), package, code)
    if process.returncode and version < 12000:  # newer packages ask a driver of CUDA 12 for their functions
        assert process.stderr.startswith("refused: CUDA could not start: ")
    else:
        captures = package[0] == "cuda-python" and version >= 12000
        assert process.stdout == f"{captures} {captures}\n", process.stderr


def test_a_driver_without_a_device_is_refused(package, stub):
    process = run_code(stub, package, "", HMDRN_STUB_NO_DEVICE="1")
    assert process.returncode == 1
    assert process.stderr.startswith("refused: CUDA could not ")
    assert "no CUDA-capable device is detected" in process.stderr or "cuInit failed" in process.stderr


def test_a_missing_driver_is_refused(package, tmp_path):
    if sys.platform != "linux" or Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine may have a driver")
    process = run_code(tmp_path, package, "")
    assert process.returncode == 1
    assert process.stderr.startswith("refused: ")
    assert "libcuda" in process.stderr or "driver" in process.stderr


def test_a_context_that_cannot_be_restored_is_an_error_and_no_abort(package, stub):
    code = """
import threading
driver = StubDriver()
def work():
    try:
        with cuda.current():
            driver.fail("cuCtxPopCurrent_v2", 999)
    except BackendError as error:
        print(error, flush=True)
    driver.mend()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    process = run_code(stub, package, code)
    assert process.stdout.startswith("CUDA could not restore the previous context: ")
    assert process.returncode == 0, process.stderr
