"""The stand-in for CUDA's driver in `cuda_stub`: compiled, loaded under the real packages, and controlled."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from hmdrn_runtime.errors import BackendError

SOURCES = Path(__file__).parent / "cuda_stub"
NOTHING = {
    "device": 0,
    "pinned": 0,
    "streams": 0,
    "graphs": 0,
    "executables": 0,
    "depth": 0,
}
"""Counts of a process that has given everything back."""
_PACKAGE = "HMDRN_CHECKED_PACKAGE"


def compile_stub(folder: Path, version: int = 13000) -> Path:
    """Compile the stand-in of a CUDA version, e.g. 12000, in a folder, and return the folder."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux" or compiler is None:
        import pytest  # not above: each process over the stand-in would import it

        pytest.skip("needs Linux and a C compiler: the stand-in for CUDA's driver is written in C")
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-pthread"]
    target = ["-Wl,-soname,libcuda.so.1", f"-DSTUB_CUDA_VERSION={version}", "-o", folder / "libcuda.so.1"]
    command = [compiler, *flags, *target, *sorted(SOURCES.glob("*.c")), "-ldl"]
    subprocess.run(command, check=True)
    return folder


def run_over_stub(
    stub: Path, package: str, site: Path | None, arguments: list[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python over the stand-in.

    Args:
        stub: Folder of the compiled stand-in.
        package: "cuda-python" or "pycuda", which `open_checked_cuda` opens there.
        site: A folder where the package is installed; None for this Python's own.
        arguments: Of Python.
        environment: Further variables.
    """
    helpers = Path(__file__).parent
    path = [str(folder) for folder in (site, helpers, os.environ.get("PYTHONPATH")) if folder]
    variables = {"PYTHONPATH": os.pathsep.join(path), "LD_LIBRARY_PATH": str(stub), _PACKAGE: package}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **variables, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def open_checked_cuda():
    """Open the package that `run_over_stub` names."""
    from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda

    sys.setdlopenflags(os.RTLD_LAZY)  # pycuda's library names functions that the stand-in does not have
    (kind,) = [kind for kind in find_cuda() if kind.package == os.environ[_PACKAGE]]
    return kind()


class StubDriver:
    """The stand-in that is loaded in this process, as `fake_trt` and the checks use it.

    Attributes:
        failures: Exceptions of kernels, whose callers are in C.
        full: Once set, another execution context does not fit.
    """

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.library.stub_count.restype = ctypes.c_long
        self.failures, self.full, self._kernels = [], False, []
        self._forgiven = self.count("abandoned")

    def count(self, name):
        return self.library.stub_count(name.encode())

    def remaining(self):
        """Return what is alive, with the depth of this thread's stack of contexts."""
        return {name: self.count(name) for name in NOTHING}

    def abandoned(self):
        """Return how many steps never ran because their stream was destroyed, those forgiven apart."""
        return self.count("abandoned") - self._forgiven

    def forgive_abandoned(self):
        """Forgive the steps that nobody could wait for."""
        self._forgiven = self.count("abandoned")

    def limit_memory(self, size):
        """Set the memory in bytes, device and page-locked together; what is in use stays."""
        self.library.stub_set_memory(ctypes.c_size_t(size))

    def fail(self, function, code, after=0):
        """Make the calls of a function fail, after so many that do not."""
        self.library.stub_fail(function.encode(), code, after)

    def mend(self):
        self.fail("", 0)
        self.limit_memory(1 << 33)

    def push_foreign_context(self):
        """Make another library's context current, and return it."""
        context = ctypes.c_void_p()
        assert self.library.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
        return context.value

    def current_context(self):
        context = ctypes.c_void_p()
        assert self.library.cuCtxGetCurrent(ctypes.byref(context)) == 0
        return context.value

    def check(self):
        assert self.current_context(), "no context is current"

    def check_address(self, address, size):
        """Return the address, which must lie in the device's memory."""
        assert self.library.stub_holds(ctypes.c_void_p(address), ctypes.c_size_t(size), 0), "not allocated"
        return address

    def enqueue(self, stream, work):
        """Enqueue a kernel, which is a function here."""

        def run(_):
            try:
                work()
            except BaseException as error:
                self.failures.append(error)

        kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(run)
        self._kernels.append(kernel)  # a captured graph may call it at any time
        code = self.library.cuLaunchHostFunc(ctypes.c_void_p(stream), kernel, None)
        if code:
            raise BackendError(f"CUDA error {code}")

    def synchronize(self, stream):
        assert self.library.cuStreamSynchronize(ctypes.c_void_p(stream)) == 0

    @property
    def streams(self):
        """Streams by number; `recording` is None for one that is not captured."""
        return _Streams(self.library)


class _Streams:
    def __init__(self, library):
        self._library = library

    def __getitem__(self, stream):
        status = ctypes.c_int()
        assert self._library.cuStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(status)) == 0
        return SimpleNamespace(recording=[] if status.value else None)
