"""Choice of the CUDA package that is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from hmdrn_runtime.backends.tensorrt.cuda.base import Cuda
from hmdrn_runtime.errors import BackendError, how_to_install


def find_cuda() -> Callable[[], Cuda]:
    """What opens CUDA with the package that is installed: cuda-python, or else pycuda.

    Raises:
        BackendError: Neither is.
    """
    if _installed("cuda.bindings.runtime") or _installed("cuda.cudart"):
        from hmdrn_runtime.backends.tensorrt.cuda.cuda_python import CudaPython

        return CudaPython
    if _installed("pycuda.driver"):
        from hmdrn_runtime.backends.tensorrt.cuda.pycuda import PyCuda

        return PyCuda
    raise BackendError(f"neither cuda-python nor pycuda is installed: {how_to_install('tensorrt')}")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
