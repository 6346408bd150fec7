"""Choice of the CUDA package: the first installed one that starts."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence

from hmdrn_runtime.backends.cuda_driver import set_blocking_sync
from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.errors import BackendError, format_install_hint


def find_cuda() -> Sequence[type[Cuda]]:
    """Return the classes of the installed packages, the best first: cuda-python, then pycuda.

    Raises:
        BackendError: Neither is installed.
    """
    kinds = tuple(_find_kinds())
    if not kinds:
        raise BackendError(
            f"neither cuda-python nor pycuda is installed: {format_install_hint('cuda13')}; for a driver of "
            "CUDA 12 the extra is 'cuda12'"
        )
    return kinds


def open_cuda(kinds: Sequence[type[Cuda]]) -> Cuda:
    """Open CUDA with the first of these classes that starts.

    With HMDRN_BLOCKING_SYNC=1 in the environment, threads sleep while they wait for the GPU.

    Raises:
        BackendError: None starts; the message has the reason of each.
    """
    if os.environ.get("HMDRN_BLOCKING_SYNC") == "1":
        set_blocking_sync()
    reasons = []
    for kind in kinds:
        try:
            return kind()
        except BackendError as error:
            reasons.append(f"{kind.package}: {error}")
    raise BackendError(f"{'; '.join(reasons)}; hmdrn doctor recommends a package for this driver")


def _find_kinds() -> Iterator[type[Cuda]]:
    if is_installed("cuda.bindings.driver") or is_installed("cuda.cuda"):
        from hmdrn_runtime.backends.tensorrt.cuda.cuda_python import CudaPython

        yield CudaPython
    if is_installed("pycuda.driver"):
        from hmdrn_runtime.backends.tensorrt.cuda.pycuda import PyCuda

        yield PyCuda


def is_installed(module: str) -> bool:
    """Return True if a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # not even the package that it would be in
        return False
