"""Opening the engines of a bundle as a backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hmdrn_runtime.backends.cuda_driver import find_gpu
from hmdrn_runtime.backends.tensorrt.backend import TensorRTBackend
from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda, open_cuda
from hmdrn_runtime.backends.tensorrt.engine_files import EngineFiles, find_engines, require_engines
from hmdrn_runtime.backends.tensorrt.fingerprint import detect_platform
from hmdrn_runtime.backends.tensorrt.requirements import import_tensorrt, require_all
from hmdrn_runtime.backends.tensorrt.signature import TrustedKeys
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError


def open_tensorrt(
    bundle: Bundle,
    variant: str | None = None,
    trust_engines: bool = False,
    trusted_keys: TrustedKeys | None = None,
) -> tuple[Bundle, TensorRTBackend]:
    """Open a bundle's engines, and return their backend with the bundle at the engines' variant.

    Args:
        bundle: The bundle.
        variant: The variant that the engines must have; any if None.
        trust_engines: Also run engines that were not built here.
        trusted_keys: Files of public keys whose engines run here too; those of the environment if None.

    Raises:
        BackendError: Something is missing, or the engines do not fit; the message names everything.
    """
    gpu, trt, kinds, _ = require_all(find_gpu, import_tensorrt, find_cuda, lambda: require_engines(bundle))
    files = find_engines(bundle, detect_platform(trt, gpu), trust_engines, trusted_keys)
    result_variant = files.fingerprint.result_variant
    if variant not in (None, result_variant):
        raise BackendError(
            f"engines in {files.folder} are of variant {result_variant!r}, not {variant!r}: leave the "
            "variant out, or choose another backend"
        )
    opened = replace(bundle, variant=result_variant)
    return opened, TensorRTBackend(opened, files, trt, open_cuda(kinds))


def make_engine_opener(trt: Any) -> Callable[[Bundle, EngineFiles], TensorRTBackend]:
    """Return a function that opens engines, whoever built them: for the check of new ones.

    Raises:
        BackendError: CUDA cannot be opened.
    """
    cuda = open_cuda(find_cuda())
    return lambda bundle, files: TensorRTBackend(bundle, files, trt, cuda)
