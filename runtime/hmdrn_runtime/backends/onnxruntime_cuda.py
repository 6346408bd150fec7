"""ONNX Runtime on an NVIDIA GPU, through its CUDA provider."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
from pathlib import Path
from typing import Any

import numpy.typing as npt

from hmdrn_runtime.backends.base import FORKED, ResidentArray
from hmdrn_runtime.backends.cuda_driver import find_gpu, read_cuda_version
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.backends.ort import ort
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError

PROVIDER = "CUDAExecutionProvider"


class OnnxRuntimeCudaBackend(OnnxRuntimeBackend):
    """An `OnnxRuntimeBackend` on the GPU; placed arrays stay in the GPU's memory.

    ONNX Runtime falls back to the CPU with no more than a line in its log. So the first session is made at
    once, and must have the provider.

    Args:
        bundle: The bundle to run.
        threads: CPU threads for nodes that do not run on the GPU; all cores if None.

    Raises:
        BackendError: No GPU is found, or the provider does not load.
    """

    name = "onnxruntime-cuda"
    # With TF32 products the ridge solve stalls near 1 %.
    providers = ((PROVIDER, {"use_tf32": "0"}), "CPUExecutionProvider")
    device = "cuda"
    _forked = False

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        super().__init__(bundle, threads)
        find_gpu()
        if PROVIDER not in ort.get_available_providers():
            raise BackendError(
                "the installed onnxruntime has no CUDA provider: install onnxruntime-gpu in its place"
            )
        self._missing = preload_cuda_libraries()
        self._get_session("classify")

    def after_fork(self) -> None:
        """Refuse to run in a forked process, where CUDA does not work."""
        super().after_fork()
        self._forked = True

    def place(self, array: npt.NDArray[Any]) -> ResidentArray:
        """Copy an array to the GPU; see `Backend.place`."""
        if self._forked:
            raise BackendError(FORKED)
        return super().place(array)

    def _load(self, graph: str) -> ort.InferenceSession:
        if self._forked:
            raise BackendError(FORKED)
        session = super()._load(graph)
        if PROVIDER not in session.get_providers():
            raise BackendError(
                "onnxruntime-gpu did not load its CUDA provider and would run on "
                f"{session.get_providers()[0]}: {self._describe_cause()}, or use backend='onnxruntime'"
            )
        return session

    def _describe_cause(self) -> str:
        problem = self._missing or _find_load_error()
        # The libraries are there, but the driver does not have a function that they call.
        symbol = problem.rpartition("undefined symbol: ")[2] if "undefined symbol: " in problem else ""
        if problem and not symbol:
            install = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
            return f"libraries of CUDA are missing ({problem}): run {install}"
        built_for = getattr(ort, "cuda_version", "") or "another version"
        lacking = f" and has no {symbol}" if symbol else ""
        return (
            f"it is built for CUDA {built_for}, the driver serves up to {read_cuda_version()}{lacking}: "
            "update the driver, or install the release of onnxruntime-gpu for its CUDA"
        )


@functools.cache
def preload_cuda_libraries() -> str:
    """Load the libraries of CUDA and cuDNN that pip has installed, once and before the first session.

    ONNX Runtime does not look for them where pip puts them.

    Returns:
        The libraries that cannot be loaded; "" if there are none, or if this ONNX Runtime, older than 1.21,
        cannot load them ahead.
    """
    preload = getattr(ort, "preload_dlls", None)
    if preload is None:
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):  # where it prints its problems
        preload()
    failed = "Failed to load "
    lines = printed.getvalue().splitlines()
    return ", ".join(line.removeprefix(failed).split(":")[0] for line in lines if line.startswith(failed))


def _find_load_error() -> str:
    """Return the reason why the provider's library does not load, such as cuDNN; "" if it does.

    Call it once ONNX Runtime has tried to load it, and so has loaded the library that it builds on.
    """
    library = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if library.exists():
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            return " ".join(str(error).split())
    return ""
