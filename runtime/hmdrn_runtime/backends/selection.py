"""Choice of the executor of a bundle: the fastest that this machine has everything for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hmdrn_runtime.arguments import check_count
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.stored_profile import load_profile
from hmdrn_runtime.backends.tensorrt.signature import TrustedKeys
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.variants import choose_variant, find_incompatibility, list_accurate_variants
from hmdrn_runtime.errors import BackendError

BACKENDS = ("auto", "tensorrt", "onnxruntime-cuda", "onnxruntime")
"""Names that a caller may ask for; "auto" tries the others in this order."""


def open_backend(bundle: Bundle, name: str = "auto", threads: int | None = None) -> Backend:
    """Open the backend of a bundle, as `choose_backend` does, at the variant that the bundle is at."""
    return choose_backend(bundle, name, threads, bundle.variant)[1]


def choose_backend(
    bundle: Bundle,
    name: str = "auto",
    threads: int | None = None,
    variant: str | None = None,
    trust_engines: bool = False,
    trusted_keys: TrustedKeys | None = None,
) -> tuple[Bundle, Backend]:
    """Open the backend of a bundle, and return it with the bundle at the variant that it runs.

    Args:
        bundle: The bundle to run.
        name: One of `BACKENDS`.
        threads: CPU threads for one call; all cores if None.
        variant: The variant of the graphs to run; the best one for the backend if None.
        trust_engines: Also run TensorRT engines that were not built on this device by this user.
        trusted_keys: Files of public keys whose engines run here too; those of the environment if None.

    Raises:
        BackendError: The backend is unknown, or this machine cannot offer it.
    """
    if not isinstance(name, str) or name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    if threads is not None:
        threads = check_count(
            threads, "threads", "give at least 1, a whole number, or None for all cores", BackendError
        )
    rejected: dict[str, str] = {}
    for candidate in BACKENDS[1:] if name == "auto" else (name,):
        try:
            opened, backend = _open(bundle, candidate, threads, variant, trust_engines, trusted_keys)
        except BackendError as error:
            if candidate == BACKENDS[-1]:
                raise
            rejected[candidate] = str(error)
        else:
            backend.rejected = rejected
            return opened, backend
    raise BackendError(
        f"backend {name!r} cannot be used: {rejected[name]}; backend='auto' uses what is available"
    )


def _open(
    bundle: Bundle,
    name: str,
    threads: int | None,
    variant: str | None,
    trust_engines: bool,
    trusted_keys: TrustedKeys | None,
) -> tuple[Bundle, Backend]:
    if name == "tensorrt":
        from hmdrn_runtime.backends.tensorrt.open import open_tensorrt

        return open_tensorrt(bundle, variant, trust_engines, trusted_keys)
    measured = {} if variant else _read_times(bundle, name)
    opened = replace(bundle, variant=variant or choose_variant(bundle.manifest, name, measured))
    _check_variant(opened, name)
    from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
    from hmdrn_runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend

    kinds = {"onnxruntime": OnnxRuntimeBackend, "onnxruntime-cuda": OnnxRuntimeCudaBackend}
    backend = kinds[name](opened, threads)
    backend.measured = measured
    return opened, backend


def _read_times(bundle: Bundle, name: str) -> Mapping[str, float]:
    """Return the stored times of the variants, without reading a file where only one can be chosen."""
    if len(list_accurate_variants(bundle.manifest, name)) < 2:
        return {}
    return load_profile(bundle, name).milliseconds


def _check_variant(bundle: Bundle, name: str) -> None:
    intended = bundle.graph("classify").backends
    if "onnxruntime" not in intended:
        raise BackendError(
            f"variant {bundle.variant!r} of {bundle.path} is for {', '.join(intended)}: build its engines on "
            "the device with hmdrn build, or open the bundle's variant 'fp32'"
        )
    reason = find_incompatibility(bundle.manifest.variants[bundle.variant], name)
    if name == "onnxruntime-cuda" and reason:
        raise BackendError(f"variant {bundle.variant!r} of {bundle.path} does not run on {name}: {reason}")
