"""From a bundle with engines to a backend, or to the reason why not."""

from __future__ import annotations

from dataclasses import replace

from hmdrn_runtime.backends.cuda_driver import find_gpu
from hmdrn_runtime.backends.tensorrt.backend import TensorRTBackend
from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda
from hmdrn_runtime.backends.tensorrt.engine_files import check_engines, find_engines
from hmdrn_runtime.backends.tensorrt.fingerprint import platform_of
from hmdrn_runtime.backends.tensorrt.requirements import import_tensorrt, require_all
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError


def open_tensorrt(
    bundle: Bundle, variant: str | None = None, trust_engines: bool = False
) -> tuple[Bundle, TensorRTBackend]:
    """Run a bundle's engines.

    Args:
        bundle: The bundle.
        variant: The variant that they must be of; any if None.
        trust_engines: Whether engines that were not built here may run.

    Returns:
        The bundle at the engines' variant, and what runs them.

    Raises:
        BackendError: Something is missing, or the engines do not fit; the message says all of it.
    """
    gpu, trt, open_cuda, _ = require_all(find_gpu, import_tensorrt, find_cuda, lambda: check_engines(bundle))
    files = find_engines(bundle, platform_of(trt, gpu), trust_engines)
    runs_as = files.fingerprint.runs_as
    if variant not in (None, runs_as):
        raise BackendError(
            f"engines in {files.folder} are of variant {runs_as!r}, not {variant!r}: leave the variant out, "
            "or choose another backend"
        )
    opened = replace(bundle, variant=runs_as)
    return opened, TensorRTBackend(opened, files, trt, open_cuda())
