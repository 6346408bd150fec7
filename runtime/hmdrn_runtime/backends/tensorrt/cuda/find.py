"""Choice of the CUDA package that is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.errors import BackendError, format_install_hint


def find_cuda() -> Callable[[], Cuda]:
    """Return the class that opens CUDA with the installed package: cuda-python, or else pycuda.

    Raises:
        BackendError: Neither is installed.
    """
    if _is_installed("cuda.bindings.runtime") or _is_installed("cuda.cudart"):
        from hmdrn_runtime.backends.tensorrt.cuda.cuda_python import CudaPython

        return CudaPython
    if _is_installed("pycuda.driver"):
        from hmdrn_runtime.backends.tensorrt.cuda.pycuda import PyCuda

        return PyCuda
    raise BackendError(f"neither cuda-python nor pycuda is installed: {format_install_hint('tensorrt')}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
