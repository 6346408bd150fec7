"""Choice of a bundle's variant for a machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from hmdrn_runtime.bundle.manifest import Graph, Manifest
from hmdrn_runtime.device.cpu import parse_cpu_flags
from hmdrn_runtime.device.sysfs import read_text

PREFERRED_VARIANTS = ("int8-ort", "int8-trt", "fp16", "fp32")
"""Variants in order of preference, the fastest first: a lower precision was exported to be used."""

FLOAT32_OPSET17 = "fp32-opset17"
"""float32 in operators that TensorRT 8.6 reads; other backends do not use it."""

_CPU_INFO = Path("/proc/cpuinfo")
_ARM = ("aarch64", "arm64")


def choose_variant(
    manifest: Manifest, backend: str, milliseconds: Mapping[str, float] = MappingProxyType({})
) -> str:
    """Return the variant for a backend on this machine; "fp32" if none suits.

    Args:
        manifest: The bundle's manifest.
        backend: The backend's name.
        milliseconds: Times that a stored profile measured here, by variant: the quickest of the accurate
            variants among them is returned. Without any, the first of `PREFERRED_VARIANTS` that suits.
    """
    measured = [name for name in list_accurate_variants(manifest, backend) if name in milliseconds]
    if measured:
        return min(measured, key=lambda name: milliseconds[name])
    suitable = (
        name
        for name in PREFERRED_VARIANTS
        if name in manifest.variants and find_incompatibility(manifest.variants[name], backend) is None
    )
    return next(suitable, "fp32")


def list_accurate_variants(manifest: Manifest, backend: str) -> list[str]:
    """List the variants that answer accurately on a backend on this machine, the preferred ones first.

    8-bit products of ARM CPUs without SDOT are exact, though slow: the INT8 graphs are in the list there.
    """
    is_exact = has_fast_int8_products() or platform.machine().lower() in _ARM
    return [
        name
        for name in PREFERRED_VARIANTS
        if (graphs := manifest.variants.get(name)) is not None
        and _find_mismatch(graphs, backend) is None
        and (graphs["classify"].precision != "int8" or backend != "onnxruntime" or is_exact)
    ]


def find_incompatibility(graphs: Mapping[str, Graph], backend: str) -> str | None:
    """Return the reason why a variant does not suit a backend on this machine, or None if it does."""
    if (reason := _find_mismatch(graphs, backend)) is not None:
        return reason
    if graphs["classify"].precision == "int8" and backend == "onnxruntime" and not has_fast_int8_products():
        return "this CPU has neither VNNI nor SDOT, without which 8-bit products are slow or cut off"
    return None


def _find_mismatch(graphs: Mapping[str, Graph], backend: str) -> str | None:
    """Return the reason why a variant is not made for a backend, on whatever machine, or None if it is."""
    if "classify" not in graphs:
        return "they do not classify"
    graph = graphs["classify"]
    if graph.precision == "int8" and backend == "onnxruntime-cuda":
        return "its 8-bit kernels are for CPUs"
    if backend.removesuffix("-cuda") not in graph.backends:
        return f"they are for {', '.join(graph.backends)}"
    return None


@cache
def has_fast_int8_products() -> bool:
    """Return whether ONNX Runtime multiplies 8-bit numbers exactly, and faster than float32, on this CPU.

    On x86-64 without VNNI it uses VPMADDUBSW, which saturates at 16 bits. On ARM without SDOT (before the
    Cortex-A75) it is exact, but hardly faster. A machine that does not report its features counts as one
    without on x86-64, and as one with them on ARM: Apple's have SDOT.
    """
    flags = parse_cpu_flags(read_text(_CPU_INFO) or "")
    if platform.machine().lower() in _ARM:
        return not flags or "asimddp" in flags
    return not flags.isdisjoint(("avx512_vnni", "avx_vnni"))
