"""Which executor runs a bundle: the fastest that this machine has everything for."""

from __future__ import annotations

from dataclasses import replace

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.bundle.variants import choose_variant, why_not
from hmdrn_runtime.errors import BackendError

BACKENDS = ("auto", "tensorrt", "onnxruntime-cuda", "onnxruntime")
"""Names that a caller may ask for; "auto" tries the others in this order."""


def open_backend(bundle: Bundle, name: str = "auto", threads: int | None = None) -> Backend:
    """The executor of a bundle's graphs, at the variant that it was opened at.

    Args:
        bundle: What to run.
        name: One of `BACKENDS`.
        threads: CPU threads for one call; all cores if None.

    Raises:
        BackendError: As `choose_backend`.
    """
    return choose_backend(bundle, name, threads, bundle.variant)[1]


def choose_backend(
    bundle: Bundle,
    name: str = "auto",
    threads: int | None = None,
    variant: str | None = None,
    trust_engines: bool = False,
) -> tuple[Bundle, Backend]:
    """The executor of a bundle, and the bundle at the variant that it runs.

    Args:
        bundle: What to run.
        name: One of `BACKENDS`.
        threads: CPU threads for one call; all cores if None.
        variant: Which of the bundle's graphs to run; those that are best for the executor if None.
        trust_engines: Whether TensorRT engines may run that were not built on this device by this user.

    Raises:
        BackendError: An unknown executor, or one that this machine cannot offer.
    """
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    if threads is not None and threads < 1:
        raise BackendError(f"threads is {threads}: give at least 1, or None for all cores")
    if name != "auto":
        try:
            return _open(bundle, name, threads, variant, trust_engines)
        except BackendError as error:
            if name == BACKENDS[-1]:
                raise
            raise BackendError(
                f"backend {name!r} cannot be used: {error}; backend='auto' takes what there is"
            ) from error
    *others, last = BACKENDS[1:]
    passed_over: dict[str, str] = {}
    for other in others:
        try:
            opened, backend = _open(bundle, other, threads, variant, trust_engines)
            break
        except BackendError as error:
            passed_over[other] = str(error)
    else:
        opened, backend = _open(bundle, last, threads, variant, trust_engines)
    backend.passed_over = passed_over
    return opened, backend


def _open(
    bundle: Bundle, name: str, threads: int | None, variant: str | None, trust_engines: bool
) -> tuple[Bundle, Backend]:
    if name == "tensorrt":
        from hmdrn_runtime.backends.tensorrt.open import open_tensorrt

        return open_tensorrt(bundle, variant, trust_engines)
    opened = replace(bundle, variant=variant or choose_variant(bundle.manifest, name))
    _check_variant(opened, name)
    from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
    from hmdrn_runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend

    kind = OnnxRuntimeBackend if name == "onnxruntime" else OnnxRuntimeCudaBackend
    return opened, kind(opened, threads)


def _check_variant(bundle: Bundle, name: str) -> None:
    wanted = bundle.graph("classify").backends
    if "onnxruntime" not in wanted:
        raise BackendError(
            f"variant {bundle.variant!r} of {bundle.path} is for {', '.join(wanted)}: build its engines on "
            "the device with hmdrn build, or open the bundle's variant 'fp32'"
        )
    if name == "onnxruntime-cuda" and (reason := why_not(bundle.manifest.variants[bundle.variant], name)):
        raise BackendError(f"variant {bundle.variant!r} of {bundle.path} does not run on {name}: {reason}")
